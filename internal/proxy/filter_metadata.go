// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"maps"
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// metadata is envoy.filters.http.set_metadata (Envoy: extensions/filters/http/set_metadata/set_metadata_filter.cc).
type metadata struct {
	config *mesh.SetMetadata
	denied *counter
}

func newMetadata(c *mesh.SetMetadata, stats *extras, prefix string) *metadata {
	return &metadata{c, stats.http(prefix, "set_metadata.overwrite_denied")}
}

func (f *metadata) begin(*exchange, overrides) step { return &metadataStep{metadata: f} }

type metadataStep struct {
	passive
	*metadata
}

func (s *metadataStep) request(x *exchange) bool {
	if x.metadata == nil {
		x.metadata = mesh.Metadata{}
	}
	for i := range s.config.Entries {
		e := &s.config.Entries[i]
		switch old, there := x.metadata[e.Namespace]; {
		case !there:
			x.metadata[e.Namespace] = e.Value
		case e.Overwrite:
			x.metadata[e.Namespace] = merged(old, e.Value)
		default:
			s.denied.Add(1)
		}
	}
	return true
}

// merged is old with what now says: lists grow, objects are merged, and all else is replaced (Envoy: StructUtil::update).
func merged(old, now map[string]any) map[string]any {
	out := maps.Clone(old)
	for k, v := range now {
		switch v := v.(type) {
		case []any:
			if list, ok := out[k].([]any); ok {
				out[k] = slices.Concat(list, v)
				continue
			}
		case map[string]any:
			if fields, ok := out[k].(map[string]any); ok {
				out[k] = merged(fields, v)
				continue
			}
		}
		out[k] = v
	}
	return out
}

// Metadata implements policy.HTTP.
func (x *exchange) Metadata(route bool) (mesh.Metadata, bool) {
	if !route {
		return x.metadata, true
	}
	if r := x.match.route; r != nil {
		return r.Metadata, true
	}
	return nil, false
}
