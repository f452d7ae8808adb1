// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// hashPolicies reads what requests are hashed by; a part that never makes a number is left out.
func hashPolicies(list []*routev3.RouteAction_HashPolicy, path string, f *findings) []mesh.HashPolicy {
	var out []mesh.HashPolicy
	for i, p := range list {
		h := mesh.HashPolicy{Terminal: p.GetTerminal()}
		switch s := p.GetPolicySpecifier().(type) {
		case *routev3.RouteAction_HashPolicy_Header_:
			h.Header = strings.ToLower(s.Header.GetHeaderName())
			h.HeaderRewrite = regexRewrite(s.Header.GetRegexRewrite(), join(at(path, i), "header.regex_rewrite"), f)
		case *routev3.RouteAction_HashPolicy_Cookie_:
			h.Cookie = hashCookie(s.Cookie, join(at(path, i), "cookie"), f)
		case *routev3.RouteAction_HashPolicy_QueryParameter_:
			h.Query = s.QueryParameter.GetName()
		case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
			if h.SourceIP = s.ConnectionProperties.GetSourceIp(); !h.SourceIP {
				continue
			}
		default:
			continue // refused by the table, or missing and found by validation
		}
		out = append(out, h)
	}
	return out
}

func hashCookie(p *routev3.RouteAction_HashPolicy_Cookie, path string, f *findings) *mesh.HashCookie {
	c := &mesh.HashCookie{Name: p.GetName(), Path: p.GetPath(), Make: p.GetTtl() != nil,
		TTL: duration(p.GetTtl(), 0, join(path, "ttl"), f).Truncate(time.Second)}
	for _, a := range p.GetAttributes() {
		c.Attributes = append(c.Attributes, mesh.CookieAttribute{Name: a.GetName(), Value: a.GetValue()})
	}
	return c
}
