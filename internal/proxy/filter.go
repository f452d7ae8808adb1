// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// filter is one HTTP filter as a listener has it, shared by all its exchanges. To add one: its settings in mesh, their decoding
// and rows in xds (filters.go, fields_filters.go), a line in newFilter and a file of its own here.
type filter interface {
	// begin starts the filter's part of an exchange whose route is known; nil: it has none.
	begin(x *exchange, over overrides) step
}

// step is one filter's part of one exchange; all is called by the connection's goroutine.
type step interface {
	// request sees the request on its way to the router; false: it was answered, or its exchange was cut.
	request(x *exchange) bool
	// response sees the head of an answer before the connection manager adds its own fields.
	response(x *exchange, status int, h *http1.Header)
	// end comes when the exchange is over.
	end(x *exchange)
}

// passive is a step that does nothing, for others to build on.
type passive struct{}

func (passive) request(*exchange) bool                 { return true }
func (passive) response(*exchange, int, *http1.Header) {}
func (passive) end(*exchange)                          {}

// chained is a filter with its place in the list.
type chained struct {
	name     string
	disabled bool
	filter   filter
}

func (p *Proxy) newFilters(h *mesh.HTTPConnectionManager) []chained {
	var all []chained
	for i := range h.Filters {
		f := &h.Filters[i]
		all = append(all, chained{f.Name, f.Disabled, p.newFilter(h, f.Config)})
	}
	return all
}

func (p *Proxy) newFilter(h *mesh.HTTPConnectionManager, config mesh.FilterConfig) filter {
	switch c := config.(type) {
	case *mesh.RBAC:
		return newRBAC(c, p.stats.extra, h.StatPrefix)
	case *mesh.Fault:
		return newFault(c, p.stats.extra, h.StatPrefix)
	case *mesh.CORSFilter:
		return newCORS(p.stats.extra, h.StatPrefix)
	case *mesh.HeaderMutation:
		return &mutation{c}
	case *mesh.LocalRateLimit:
		return newRateLimit(c, p.stats.extra)
	case *mesh.HealthCheckFilter:
		return &healthCheck{c}
	case *mesh.Buffer:
		return &buffer{c}
	case *mesh.SetMetadata:
		return newMetadata(c, p.stats.extra, h.StatPrefix)
	}
	panic("a filter of a kind that package mesh does not have")
}

// overrides is what the levels of a route say of one filter, the most specific first; absent levels are nil.
type overrides [4]mesh.FilterConfig

// over is the most specific of the overrides that fit a filter; the zero T: none.
func over[T mesh.FilterConfig](all overrides) T {
	var none T
	for _, c := range all {
		if c != nil {
			t, _ := c.(T)
			return t
		}
	}
	return none
}

// overrides collects what the route says of a filter, and whether it is off.
func (x *exchange) overrides(f *chained) (all overrides, off bool) {
	m := &x.match
	off = f.disabled
	if m.route == nil {
		return all, off
	}
	levels := [...]mesh.FilterOverrides{nil, m.route.Filters, m.host.Filters, m.config.Filters}
	if x.share != nil {
		levels[0] = x.share.Filters
	}
	said := false
	for i, l := range levels {
		o, ok := l[f.name]
		if !ok {
			continue
		}
		if !said {
			said, off = true, o.Disabled
		}
		all[i] = o.Config
	}
	return all, off
}

// beginFilters makes the filters ready, once for an exchange.
func (x *exchange) beginFilters() {
	filters := x.c.v.before
	if x.filtered || len(filters) == 0 {
		return
	}
	x.filtered = true
	for i := range filters {
		if all, off := x.overrides(&filters[i]); !off {
			if s := filters[i].filter.begin(x, all); s != nil {
				x.steps = append(x.steps, s)
			}
		}
	}
}

// filterRequest lets the filters see the request; false: one of them answered it (Envoy: filter_manager.cc, decodeHeaders).
func (x *exchange) filterRequest() bool {
	if x.trial != nil {
		return x.trial.filters(x)
	}
	x.beginFilters()
	for _, s := range x.steps {
		if !s.request(x) {
			return false
		}
	}
	return true
}

// filterResponse lets the filters see the head of an answer, local replies included, even those to what is no request yet.
func (x *exchange) filterResponse(status int, h *http1.Header) {
	x.beginFilters()
	for i := len(x.steps) - 1; i >= 0; i-- {
		x.steps[i].response(x, status, h)
	}
}

// endFilters ends what filterRequest began.
func (x *exchange) endFilters() {
	for i, s := range x.steps {
		s.end(x)
		x.steps[i] = nil
	}
	x.steps = x.steps[:0]
}

// hold lets time pass before the request goes on, while its client is watched; false: the exchange has ended meanwhile, and
// was answered. The router's clocks start afterwards.
func (x *exchange) hold(d time.Duration) bool {
	if x.trial != nil {
		x.trial.held = d
		return true
	}
	x.await(d)
	if x.cause.Load() != running {
		x.timedOut()
		return false
	}
	if x.complete.Load() > 0 {
		x.finished()
	}
	return true
}
