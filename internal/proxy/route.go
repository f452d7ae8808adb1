// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// routeTable finds the virtual host of an authority without looking at all of them.
type routeTable struct {
	config *mesh.RouteConfig
	exact  map[string]*mesh.VirtualHost
	// suffixes and prefixes hold what stands around the "*", the longest first.
	suffixes, prefixes []affixes
	any                *mesh.VirtualHost
}

// affixes are those of one length.
type affixes struct {
	length int
	hosts  map[string]*mesh.VirtualHost
}

// match is what a request met; route is nil if that is nothing.
type match struct {
	config *mesh.RouteConfig
	host   *mesh.VirtualHost
	route  *mesh.Route
}

func newRouteTable(rc *mesh.RouteConfig) *routeTable {
	t := &routeTable{config: rc, exact: map[string]*mesh.VirtualHost{}}
	for _, vh := range rc.VirtualHosts {
		for _, d := range vh.Domains {
			d = strings.ToLower(d)
			switch {
			case d == "*":
				t.any = vh
			case strings.HasPrefix(d, "*"):
				t.suffixes = addAffix(t.suffixes, d[1:], vh)
			case strings.HasSuffix(d, "*"):
				t.prefixes = addAffix(t.prefixes, d[:len(d)-1], vh)
			default:
				t.exact[d] = vh
			}
		}
	}
	return t
}

func addAffix(all []affixes, text string, vh *mesh.VirtualHost) []affixes {
	i, found := slices.BinarySearchFunc(all, len(text), func(a affixes, n int) int { return cmp.Compare(n, a.length) })
	if !found {
		all = slices.Insert(all, i, affixes{len(text), map[string]*mesh.VirtualHost{}})
	}
	all[i].hosts[text] = vh
	return all
}

// host is the virtual host of an authority; nil: none.
func (t *routeTable) host(authority string) *mesh.VirtualHost {
	a := strings.ToLower(authority)
	if vh := t.exact[a]; vh != nil {
		return vh
	}
	for _, s := range t.suffixes { // "*" stands for one byte at least
		if n := len(a) - s.length; n > 0 {
			if vh := s.hosts[a[n:]]; vh != nil {
				return vh
			}
		}
	}
	for _, p := range t.prefixes {
		if len(a) > p.length {
			if vh := p.hosts[a[:p.length]]; vh != nil {
				return vh
			}
		}
	}
	return t.any
}

// match finds the first route for a request.
func (t *routeTable) match(r *http1.Request) match {
	vh := t.host(r.Header.Value("host"))
	if vh == nil || r.Path == "" { // CONNECT needs a matcher of its own
		return match{}
	}
	path, query, _ := strings.Cut(r.Path, "?")
	for _, rt := range vh.Routes {
		m := &rt.Match
		if pathMatches(m, path) && headersMatch(m.Headers, r) && queryMatches(m.Query, query) {
			return match{t.config, vh, rt}
		}
	}
	return match{}
}

func pathMatches(m *mesh.RouteMatch, path string) bool {
	if m.Kind == mesh.PathExact {
		return len(path) == len(m.Path) && equal(path, m.Path, !m.CaseSensitive)
	}
	if len(path) < len(m.Path) || !equal(path[:len(m.Path)], m.Path, !m.CaseSensitive) {
		return false
	}
	return m.Kind == mesh.PathPrefix || len(path) == len(m.Path) || path[len(m.Path)] == '/'
}

func equal(a, b string, fold bool) bool {
	return a == b || fold && strings.EqualFold(a, b)
}

func headersMatch(all []mesh.HeaderMatch, r *http1.Request) bool {
	for i := range all {
		if !headerMatches(&all[i], r) {
			return false
		}
	}
	return true
}

func headerMatches(m *mesh.HeaderMatch, r *http1.Request) bool {
	there, hit := false, false
	see := func(v string) {
		there = true
		hit = hit || stringMatches(&m.Match, v)
	}
	switch m.Name {
	case ":method":
		see(r.Method)
	case ":path":
		see(r.Path)
	case ":scheme":
		see(schemeOf(r))
	default:
		name := m.Name
		if name == ":authority" {
			name = "host"
		}
		for i := range r.Header.Fields {
			if f := &r.Header.Fields[i]; f.Name == name {
				see(f.Value)
			}
		}
	}
	switch {
	case m.Match.Kind == mesh.StringPresent:
		return (there == m.Present) != m.Invert
	case !there && !m.TreatMissingAsEmpty:
		return false
	case !there:
		hit = stringMatches(&m.Match, "")
	}
	return hit != m.Invert
}

func stringMatches(m *mesh.StringMatch, v string) bool {
	n := len(m.Value)
	switch m.Kind {
	case mesh.StringExact:
		return len(v) == n && equal(v, m.Value, m.IgnoreCase)
	case mesh.StringPrefix:
		return len(v) >= n && equal(v[:n], m.Value, m.IgnoreCase)
	case mesh.StringSuffix:
		return len(v) >= n && equal(v[len(v)-n:], m.Value, m.IgnoreCase)
	case mesh.StringContains:
		if m.IgnoreCase {
			return strings.Contains(strings.ToLower(v), strings.ToLower(m.Value))
		}
		return strings.Contains(v, m.Value)
	}
	return true // StringPresent
}

// queryMatches compares the first value of each parameter, as it was sent: nothing is decoded.
func queryMatches(all []mesh.QueryMatch, query string) bool {
	for i := range all {
		m := &all[i]
		v, there := parameter(query, m.Name)
		if m.Match.Kind == mesh.StringPresent {
			if there != m.Present {
				return false
			}
		} else if !there || !stringMatches(&m.Match, v) {
			return false
		}
	}
	return true
}

func parameter(query, name string) (string, bool) {
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		if k, v, _ := strings.Cut(one, "="); k == name {
			return v, true
		}
	}
	return "", false
}

// schemeOf is what Envoy puts into :scheme: the target's own, else what x-forwarded-proto says.
func schemeOf(r *http1.Request) string {
	if r.Scheme != "" {
		return r.Scheme
	}
	if v := strings.ToLower(r.Header.Value("x-forwarded-proto")); v == "https" {
		return v
	}
	return "http"
}
