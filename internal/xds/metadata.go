// SPDX-License-Identifier: Apache-2.0

package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	setv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// metadata reads what stands at a route; nil: nothing does.
func metadata(p *corev3.Metadata) mesh.Metadata {
	if len(p.GetFilterMetadata()) == 0 {
		return nil
	}
	out := mesh.Metadata{}
	for name, s := range p.GetFilterMetadata() {
		out[name] = s.AsMap()
	}
	return out
}

func setMetadata(p *setv3.Config) *mesh.SetMetadata {
	out := &mesh.SetMetadata{}
	//nolint:staticcheck // the deprecated form comes first, as in Envoy
	if name := p.GetMetadataNamespace(); name != "" && p.GetValue() != nil {
		out.Entries = append(out.Entries, mesh.MetadataEntry{Namespace: name, Value: p.GetValue().AsMap(), Overwrite: true})
	}
	for _, e := range p.GetMetadata() {
		if e.GetValue() != nil {
			out.Entries = append(out.Entries, mesh.MetadataEntry{Namespace: e.GetMetadataNamespace(), Value: e.GetValue().AsMap(),
				Overwrite: e.GetAllowOverwrite()})
		}
	}
	return out
}

// metadataMatch reads a condition; false: it is not supported, and was refused by the table.
func metadataMatch(p *matcherv3.MetadataMatcher, route bool, path string, f *findings) (*mesh.MetadataMatch, bool) {
	m := &mesh.MetadataMatch{Namespace: p.GetFilter(), Invert: p.GetInvert(), Route: route}
	for _, s := range p.GetPath() {
		m.Path = append(m.Path, s.GetKey())
	}
	var ok bool
	m.Value, ok = valueMatch(p.GetValue(), join(path, "value"), f)
	return m, ok
}

func valueMatch(p *matcherv3.ValueMatcher, path string, f *findings) (mesh.ValueMatch, bool) {
	switch s := p.GetMatchPattern().(type) {
	case *matcherv3.ValueMatcher_NullMatch_:
		return mesh.ValueMatch{Kind: mesh.ValueNull}, true
	case *matcherv3.ValueMatcher_DoubleMatch:
		if r := s.DoubleMatch.GetRange(); r != nil {
			if r.GetStart() == r.GetEnd() {
				f.refused(join(path, "double_match.range"), "holds nothing: give exact")
			}
			return mesh.ValueMatch{Kind: mesh.ValueNumber, Start: r.GetStart(), End: r.GetEnd()}, true
		}
		n := s.DoubleMatch.GetExact()
		return mesh.ValueMatch{Kind: mesh.ValueNumber, Start: n, End: n}, true
	case *matcherv3.ValueMatcher_StringMatch:
		t, ok := stringMatch(s.StringMatch, join(path, "string_match"), f)
		return mesh.ValueMatch{Kind: mesh.ValueText, Text: &t}, ok
	case *matcherv3.ValueMatcher_BoolMatch:
		return mesh.ValueMatch{Kind: mesh.ValueBool, Bool: s.BoolMatch}, true
	case *matcherv3.ValueMatcher_PresentMatch:
		return mesh.ValueMatch{Kind: mesh.ValuePresent, Bool: s.PresentMatch}, true
	case *matcherv3.ValueMatcher_ListMatch:
		one, ok := valueMatch(s.ListMatch.GetOneOf(), join(path, "list_match.one_of"), f)
		return mesh.ValueMatch{Kind: mesh.ValueOneOf, Of: []mesh.ValueMatch{one}}, ok
	case *matcherv3.ValueMatcher_OrMatch:
		out, all := mesh.ValueMatch{Kind: mesh.ValueOr}, true
		for i, q := range s.OrMatch.GetValueMatchers() {
			one, ok := valueMatch(q, at(join(path, "or_match.value_matchers"), i), f)
			out.Of = append(out.Of, one)
			all = all && ok
		}
		return out, all
	}
	return mesh.ValueMatch{}, false
}
