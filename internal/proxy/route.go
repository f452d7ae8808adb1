// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"slices"
	"strconv"
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
	limiters           limiters
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
	// limiters are the table's.
	limiters *limiters
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
func (t *routeTable) match(r *http1.Request, d *draw) match {
	vh := t.hostOf(r)
	if vh == nil || r.Path == "" { // CONNECT needs a matcher of its own
		return match{}
	}
	if vh.RequireTLS != mesh.NoTLS && lacksTLS(vh.RequireTLS, r) {
		return toTLS
	}
	path, query, _ := strings.Cut(r.Path, "?")
	if t.config.IgnorePathParametersInPathMatching {
		path = withoutParameters(path)
	}
	for _, rt := range vh.Routes {
		m := &rt.Match
		if pathMatches(m, path) && (m.Fraction == nil || d.hits(m.Fraction)) && (!m.GRPC || isGRPC(&r.Header)) && headersMatch(m.Headers, r) &&
			queryMatches(m.Query, query) && (m.Cookies == nil || cookiesMatch(m.Cookies, r)) {
			return match{t.config, vh, rt, &t.limiters}
		}
	}
	return match{}
}

// withoutParameters takes what follows a semicolon out of each segment.
func withoutParameters(path string) string {
	if strings.IndexByte(path, ';') < 0 {
		return path
	}
	var b strings.Builder
	for segment := range strings.SplitAfterSeq(path, "/") {
		name, _, cut := strings.Cut(segment, ";")
		b.WriteString(name)
		if cut && segment[len(segment)-1] == '/' {
			b.WriteByte('/')
		}
	}
	return b.String()
}

// toTLS is what requests meet that have to come by TLS (Envoy: config_impl.cc, SSL_REDIRECT_ROUTE).
var toTLS = match{config: &mesh.RouteConfig{}, host: &mesh.VirtualHost{}, route: &mesh.Route{ToTLS: true}, limiters: &limiters{}}

// lacksTLS says that a request has not come by TLS, but would have to.
func lacksTLS(want mesh.TLSRequirement, r *http1.Request) bool {
	return r.Header.Value("x-forwarded-proto") != "https" && (want == mesh.AllTLS || r.Header.Value("x-envoy-internal") != "true")
}

// hostOf is the virtual host of a request; nil: none.
func (t *routeTable) hostOf(r *http1.Request) *mesh.VirtualHost {
	if len(t.exact)+len(t.suffixes)+len(t.prefixes) == 0 {
		return t.any // whether or not there is a name (Envoy: config_impl.cc, findVirtualHost)
	}
	name := t.config.VHostHeader
	if name == "" {
		name = "host"
	}
	a, ok := r.Header.Get(name)
	if !ok {
		return nil
	}
	if t.config.IgnorePortInHostMatching {
		a, _, _ = cutPort(a)
	}
	return t.host(a)
}

// pathMatches compares a path, which may have lost its parameters.
func pathMatches(m *mesh.RouteMatch, path string) bool {
	switch m.Kind {
	case mesh.PathRegex:
		return m.Regex.Match(path)
	case mesh.PathExact:
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
	if v, ok := pseudo(r, m.Name); ok {
		there, hit = true, valueMatches(m, v)
	} else {
		for i := range r.Header.Fields {
			if f := &r.Header.Fields[i]; f.Name == m.Name {
				there = true
				hit = hit || valueMatches(m, f.Value)
			}
		}
	}
	switch {
	case m.Match.Kind == mesh.StringPresent && m.Range == nil:
		return ((there || m.TreatMissingAsEmpty) == m.Present) != m.Invert
	case !there && !m.TreatMissingAsEmpty:
		return false
	case !there:
		hit = valueMatches(m, "")
	}
	return hit != m.Invert
}

func valueMatches(m *mesh.HeaderMatch, v string) bool {
	if m.Range == nil {
		return m.Match.Matches(v)
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return err == nil && n >= m.Range.Start && n < m.Range.End
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
		} else if !there || !m.Match.Matches(v) {
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

func cookiesMatch(all []mesh.CookieMatch, r *http1.Request) bool {
	for i := range all {
		m := &all[i]
		v, there := cookie(r, m.Name)
		if (there && m.Match.Matches(v)) == m.Invert {
			return false
		}
	}
	return true
}

// cookie is the value of the first cookie of that name, without quotes (Envoy: http/utility.cc, parseCookieValue).
func cookie(r *http1.Request, name string) (string, bool) {
	for i := range r.Header.Fields {
		f := &r.Header.Fields[i]
		if f.Name != "cookie" {
			continue
		}
		for one := range strings.SplitSeq(f.Value, ";") {
			k, v, ok := strings.Cut(strings.TrimLeft(one, " \t"), "=")
			if !ok || k != name {
				continue
			}
			v = strings.TrimRight(v, " \t")
			if n := len(v); n >= 2 && v[0] == '"' && v[n-1] == '"' {
				v = v[1 : n-1]
			}
			return v, true
		}
	}
	return "", false
}

// field is the first value of a request's field, Envoy's names for what is no field in HTTP/1.1 included.
func field(r *http1.Request, name string) (string, bool) {
	if v, ok := pseudo(r, name); ok {
		return v, true
	}
	return r.Header.Get(name)
}

func pseudo(r *http1.Request, name string) (string, bool) {
	switch name {
	case ":method":
		return r.Method, true
	case ":path":
		return r.Path, true
	case ":scheme":
		return schemeOf(r), true
	case ":authority":
		return r.Header.Get("host")
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
