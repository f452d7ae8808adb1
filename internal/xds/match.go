// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// routeMatch reads a match. A condition that is not supported is left out here and refused by the table.
func routeMatch(p *routev3.RouteMatch, path string, f *findings) mesh.RouteMatch {
	m := mesh.RouteMatch{CaseSensitive: boolOr(p.GetCaseSensitive(), true)}
	switch s := p.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		m.Kind, m.Path = mesh.PathPrefix, s.Prefix
	case *routev3.RouteMatch_Path:
		m.Kind, m.Path = mesh.PathExact, s.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		m.Kind, m.Path = mesh.PathSeparatedPrefix, s.PathSeparatedPrefix
	case *routev3.RouteMatch_SafeRegex:
		m.Kind, m.Regex = mesh.PathRegex, regex(s.SafeRegex, true, join(path, "safe_regex"), f)
	}
	if p.GetRuntimeFraction() != nil {
		m.Fraction = fraction(p.GetRuntimeFraction().GetDefaultValue())
	}
	m.GRPC = p.GetGrpc() != nil
	for i, h := range p.GetHeaders() {
		if hm, ok := headerMatch(h, at(join(path, "headers"), i), f); ok {
			m.Headers = append(m.Headers, hm)
		}
	}
	for i, q := range p.GetQueryParameters() {
		if qm, ok := queryMatch(q, at(join(path, "query_parameters"), i), f); ok {
			m.Query = append(m.Query, qm)
		}
	}
	for i, c := range p.GetCookies() {
		if sm, ok := stringMatch(c.GetStringMatch(), join(at(join(path, "cookies"), i), "string_match"), f); ok {
			m.Cookies = append(m.Cookies, mesh.CookieMatch{Name: c.GetName(), Match: sm, Invert: c.GetInvertMatch()})
		}
	}
	return m
}

func fraction(p *typev3.FractionalPercent) *mesh.Fraction {
	f := &mesh.Fraction{Numerator: p.GetNumerator(), Denominator: 100}
	switch p.GetDenominator() {
	case typev3.FractionalPercent_TEN_THOUSAND:
		f.Denominator = 10_000
	case typev3.FractionalPercent_MILLION:
		f.Denominator = 1_000_000
	}
	return f
}

//nolint:staticcheck // the deprecated forms are still in many files
func headerMatch(p *routev3.HeaderMatcher, path string, f *findings) (mesh.HeaderMatch, bool) {
	h := mesh.HeaderMatch{Name: strings.ToLower(p.GetName()), Invert: p.GetInvertMatch(),
		TreatMissingAsEmpty: p.GetTreatMissingHeaderAsEmpty()}
	switch s := p.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_ExactMatch:
		if s.ExactMatch == "" {
			h.Match, h.Present = mesh.StringMatch{Kind: mesh.StringPresent}, true // as in Envoy: nothing to compare
			break
		}
		h.Match = mesh.StringMatch{Kind: mesh.StringExact, Value: s.ExactMatch}
	case *routev3.HeaderMatcher_PrefixMatch:
		h.Match = mesh.StringMatch{Kind: mesh.StringPrefix, Value: s.PrefixMatch}
	case *routev3.HeaderMatcher_SuffixMatch:
		h.Match = mesh.StringMatch{Kind: mesh.StringSuffix, Value: s.SuffixMatch}
	case *routev3.HeaderMatcher_ContainsMatch:
		h.Match = mesh.StringMatch{Kind: mesh.StringContains, Value: s.ContainsMatch}
	case *routev3.HeaderMatcher_PresentMatch:
		h.Match, h.Present = mesh.StringMatch{Kind: mesh.StringPresent}, s.PresentMatch
	case *routev3.HeaderMatcher_RangeMatch:
		h.Range = &mesh.Range{Start: s.RangeMatch.GetStart(), End: s.RangeMatch.GetEnd()}
	case *routev3.HeaderMatcher_SafeRegexMatch:
		h.Match = mesh.StringMatch{Kind: mesh.StringRegex, Regex: regex(s.SafeRegexMatch, true, join(path, "safe_regex_match"), f)}
	case *routev3.HeaderMatcher_StringMatch:
		var ok bool
		if h.Match, ok = stringMatch(s.StringMatch, join(path, "string_match"), f); !ok {
			return h, false
		}
	case nil:
		h.Match, h.Present = mesh.StringMatch{Kind: mesh.StringPresent}, true
	default:
		return h, false
	}
	return h, true
}

func queryMatch(p *routev3.QueryParameterMatcher, path string, f *findings) (mesh.QueryMatch, bool) {
	q := mesh.QueryMatch{Name: p.GetName(), Present: true, Match: mesh.StringMatch{Kind: mesh.StringPresent}}
	switch s := p.GetQueryParameterMatchSpecifier().(type) {
	case *routev3.QueryParameterMatcher_PresentMatch:
		q.Present = s.PresentMatch
	case *routev3.QueryParameterMatcher_StringMatch:
		var ok bool
		q.Match, ok = stringMatch(s.StringMatch, join(path, "string_match"), f)
		return q, ok
	}
	return q, true
}

func stringMatch(p *matcherv3.StringMatcher, path string, f *findings) (mesh.StringMatch, bool) {
	m := mesh.StringMatch{IgnoreCase: p.GetIgnoreCase()}
	switch s := p.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		m.Kind, m.Value = mesh.StringExact, s.Exact
	case *matcherv3.StringMatcher_Prefix:
		m.Kind, m.Value = mesh.StringPrefix, s.Prefix
	case *matcherv3.StringMatcher_Suffix:
		m.Kind, m.Value = mesh.StringSuffix, s.Suffix
	case *matcherv3.StringMatcher_Contains:
		m.Kind, m.Value = mesh.StringContains, s.Contains
	case *matcherv3.StringMatcher_SafeRegex:
		m.Kind, m.Regex = mesh.StringRegex, regex(s.SafeRegex, true, join(path, "safe_regex"), f)
		if m.IgnoreCase {
			f.invalid(join(path, "ignore_case"), "has no effect for safe_regex; begin the expression with (?i)")
		}
	default:
		return m, false // another kind, refused by the table
	}
	return m, true
}
