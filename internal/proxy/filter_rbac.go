// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"net/netip"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/policy"
)

// rbac is envoy.filters.http.rbac (Envoy: extensions/filters/http/rbac/rbac_filter.cc).
type rbac struct {
	config                                       *mesh.RBAC
	stats                                        *extras
	prefix                                       string
	allowed, denied, shadowAllowed, shadowDenied *counter
}

func newRBAC(c *mesh.RBAC, stats *extras, prefix string) *rbac {
	f := &rbac{config: c, stats: stats, prefix: prefix}
	f.allowed, f.denied = f.counter(c.RulesStatPrefix, "allowed"), f.counter(c.RulesStatPrefix, "denied")
	f.shadowAllowed, f.shadowDenied = f.counter(c.ShadowStatPrefix, "shadow_allowed"), f.counter(c.ShadowStatPrefix, "shadow_denied")
	return f
}

func (f *rbac) counter(prefix, name string) *counter {
	return f.stats.http(f.prefix, "rbac."+dotted(prefix)+name)
}

// dotted ends a prefix that is there with a dot.
func dotted(prefix string) string {
	if prefix != "" && prefix[len(prefix)-1] != '.' {
		prefix += "."
	}
	return prefix
}

func (f *rbac) begin(x *exchange, all overrides) step {
	c := f.config
	if o := over[*mesh.RBAC](all); o != nil {
		c = o
	}
	if c.Rules == nil && c.Shadow == nil {
		return nil
	}
	return &rbacStep{rbac: f, rules: c}
}

type rbacStep struct {
	passive
	*rbac
	rules *mesh.RBAC
}

func (s *rbacStep) request(x *exchange) bool {
	subject := x.subject()
	if r := s.rules.Shadow; r != nil {
		allowed, met := policy.Decide(r, &subject)
		s.count(allowed, met, s.config.ShadowStatPrefix, "shadow_", s.shadowAllowed, s.shadowDenied)
	}
	if r := s.rules.Rules; r != nil {
		allowed, met := policy.Decide(r, &subject)
		s.count(allowed, met, s.config.RulesStatPrefix, "", s.allowed, s.denied)
		if !allowed {
			x.blame("rbac_access_denied_matched_policy[" + cmp.Or(met, "none") + "]")
			x.reply(403, "RBAC: access denied", nil)
			return false
		}
	}
	return true
}

func (s *rbacStep) count(allowed bool, met, prefix, kind string, yes, no *counter) {
	c, name := no, "denied"
	if allowed {
		c, name = yes, "allowed"
	}
	c.Add(1)
	if s.rules.PerRuleStats && met != "" {
		s.counter(prefix, "policy."+met+"."+kind+name).Add(1)
	}
}

// subject is who a policy is asked about.
func (x *exchange) subject() policy.Subject {
	c := x.c
	s := c.v.subject(c.peer, c.from.Addr(), x.remote, c.to)
	s.HTTP = x
	return s
}

// subject is who has connected; remote is the client as far as it is known.
func (v *version) subject(direct, source, remote netip.Addr, to netip.AddrPort) policy.Subject {
	s := policy.Subject{Direct: direct, Source: source, Remote: remote, Destination: to}
	if l := v.listener; !l.BindToPort {
		// The kernel turned the client to a socket in its own namespace, which sees other addresses than the client's.
		hidden := s.Direct
		for _, a := range []*netip.Addr{&s.Direct, &s.Source, &s.Remote} {
			if *a == hidden {
				*a = netip.Addr{}
			}
		}
		if l.Address.Addr().IsUnspecified() {
			s.Destination = l.Address
		}
	}
	return s
}

// HeaderMatches implements policy.HTTP.
func (x *exchange) HeaderMatches(m *mesh.HeaderMatch) bool { return headerMatches(m, &x.c.req) }

// TargetPath implements policy.HTTP.
func (x *exchange) TargetPath() (string, bool) {
	p := x.c.req.Path
	return p[:pathLength(p)], p != ""
}
