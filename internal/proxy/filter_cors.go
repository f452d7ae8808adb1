// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// cors is envoy.filters.http.cors (Envoy: extensions/filters/http/cors/cors_filter.cc).
type cors struct{ valid, invalid *counter }

func newCORS(stats *extras, prefix string) *cors {
	return &cors{stats.http(prefix, "cors.origin_valid"), stats.http(prefix, "cors.origin_invalid")}
}

func (f *cors) begin(x *exchange, all overrides) step {
	if x.match.route == nil || x.match.route.Forward == nil {
		return nil
	}
	s := &corsStep{cors: f}
	for _, c := range all {
		if p, ok := c.(*mesh.CORS); ok {
			s.levels = append(s.levels, p)
		}
	}
	if s.levels == nil {
		for _, p := range []*mesh.CORS{x.match.route.Forward.CORS, x.match.host.CORS} {
			if p != nil {
				s.levels = append(s.levels, p)
			}
		}
	}
	if s.levels == nil {
		return nil
	}
	return s
}

// corsStep asks the levels, the most specific first.
type corsStep struct {
	passive
	*cors
	levels []*mesh.CORS
	origin string // that was allowed
}

func (s *corsStep) enabled() bool { f := s.levels[0].Enabled; return f == nil || chance(*f) }
func (s *corsStep) shadow() bool  { f := s.levels[0].Shadow; return f != nil && chance(*f) }

func (s *corsStep) text(of func(*mesh.CORS) string) string {
	v := ""
	for _, l := range s.levels {
		v = cmp.Or(v, of(l))
	}
	return v
}

func (s *corsStep) flag(of func(*mesh.CORS) *bool, absent bool) bool {
	for _, l := range s.levels {
		if v := of(l); v != nil {
			return *v
		}
	}
	return absent
}

func (s *corsStep) allows(origin string) bool {
	for _, l := range s.levels {
		if len(l.AllowOrigins) == 0 {
			continue
		}
		for i := range l.AllowOrigins {
			if m := &l.AllowOrigins[i]; m.Matches("*") || m.Matches(origin) {
				return true
			}
		}
		return false
	}
	return false
}

func (s *corsStep) request(x *exchange) bool {
	if !s.enabled() && !s.shadow() {
		return true
	}
	h := &x.c.req.Header
	origin := h.Value("origin")
	if origin == "" {
		return true
	}
	allowed := s.allows(origin)
	if allowed {
		s.valid.Add(1)
	} else {
		s.invalid.Add(1)
	}
	if s.shadow() && !s.enabled() {
		return true
	}
	if allowed {
		s.origin = origin
	}
	method := h.Value("access-control-request-method")
	if x.c.req.Method != "OPTIONS" || method == "" ||
		!allowed && s.flag(func(c *mesh.CORS) *bool { return c.ForwardNotMatchingPreflights }, true) {
		return true
	}
	x.blame("cors_response")
	x.answerPlainly(200, func(a *http1.Header) { s.preflight(h, a, method) })
	return false
}

// preflight fills in the answer that says what is allowed.
func (s *corsStep) preflight(h, a *http1.Header, method string) {
	if s.origin != "" {
		a.Set("access-control-allow-origin", s.origin)
	}
	s.credentials(a)
	if v := s.text(func(c *mesh.CORS) string { return c.AllowMethods }); v == "*" {
		a.Set("access-control-allow-methods", method)
	} else if v != "" {
		a.Set("access-control-allow-methods", v)
	}
	if v := s.text(func(c *mesh.CORS) string { return c.AllowHeaders }); v == "*" {
		a.Set("access-control-allow-headers", h.Value("access-control-request-headers"))
	} else if v != "" {
		a.Set("access-control-allow-headers", v)
	}
	if v := s.text(func(c *mesh.CORS) string { return c.MaxAge }); v != "" {
		a.Set("access-control-max-age", v)
	}
	if s.flag(func(c *mesh.CORS) *bool { return c.AllowPrivateNetworkAccess }, false) &&
		h.Value("access-control-request-private-network") == "true" {
		a.Set("access-control-allow-private-network", "true")
	}
}

func (s *corsStep) credentials(h *http1.Header) {
	if s.flag(func(c *mesh.CORS) *bool { return c.AllowCredentials }, false) {
		h.Set("access-control-allow-credentials", "true")
	}
}

func (s *corsStep) response(_ *exchange, _ int, h *http1.Header) {
	if s.origin == "" {
		return
	}
	h.Set("access-control-allow-origin", s.origin)
	s.credentials(h)
	if v := s.text(func(c *mesh.CORS) string { return c.ExposeHeaders }); v != "" {
		h.Set("access-control-expose-headers", v)
	}
}
