// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// rewrite changes path and authority as the route says, keeping what was there for the upstream to see
// (Envoy: config_impl.cc, finalizeRequestHeaders).
func (x *exchange) rewrite(a *mesh.RouteAction) {
	r := &x.c.req
	if x.share.HostRewriteLiteral != "" {
		r.Header.Set("host", x.share.HostRewriteLiteral)
	}
	x.rewriteHost(a, newHost(a, r))
	if path := newPath(a, &x.match.route.Match, r.Path); path != "" {
		r.Header.Set("x-envoy-original-path", r.Path)
		r.Path = path
	}
}

// newPath is the target that the route wants; empty: it stays.
func newPath(a *mesh.RouteAction, m *mesh.RouteMatch, target string) string {
	switch {
	case a.PrefixRewrite != "":
		return rewritten(m, target, a.PrefixRewrite)
	case a.RegexRewrite != nil:
		return regexRewritten(a.RegexRewrite, target)
	}
	return ""
}

// newHost is the authority that the route wants; empty: it stays.
func newHost(a *mesh.RouteAction, r *http1.Request) string {
	switch {
	case a.HostRewriteLiteral != "":
		return a.HostRewriteLiteral
	case a.HostRewriteHeader != "":
		name, _ := field(r, a.HostRewriteHeader)
		return name
	case a.HostRewritePathRegex != nil:
		return a.HostRewritePathRegex.Apply(r.Path[:pathLength(r.Path)])
	}
	return ""
}

// rewriteHost replaces the authority.
func (x *exchange) rewriteHost(a *mesh.RouteAction, name string) {
	if name == "" {
		return
	}
	h := &x.c.req.Header
	old := h.Value("host")
	if old != "" {
		if a.AppendXForwardedHost {
			h.Add("x-forwarded-host", old)
		}
		h.Set("x-envoy-original-host", old)
	}
	h.Set("host", name)
}

// rewritten puts prefix in the place of what the match compared.
func rewritten(m *mesh.RouteMatch, path, prefix string) string {
	n := len(m.Path)
	if m.Kind == mesh.PathRegex {
		n = pathLength(path)
	}
	return prefix + path[n:]
}

// regexRewritten changes a target before its query; empty if nothing of the path is left.
func regexRewritten(rw *mesh.RegexRewrite, target string) string {
	n := pathLength(target)
	path := rw.Apply(target[:n])
	if path == "" {
		return ""
	}
	return path + target[n:]
}

// pathLength is how much of a target comes before the query.
func pathLength(target string) int {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return i
	}
	return len(target)
}

// redirectTo is the location of a redirect (Envoy: config_impl.cc, RouteEntryImplBase::newUri).
func redirectTo(to *mesh.Redirect, r *http1.Request) string {
	scheme := schemeOf(r)
	old := r.Header.Value("x-forwarded-proto") // that, and not the scheme of the target, says whose default port it is
	switch {
	case to.Scheme != "":
		scheme = to.Scheme
	case to.HTTPS:
		scheme = "https"
	}
	host := to.Host
	if host == "" {
		host = r.Header.Value("host")
		if name, port, ok := cutPort(host); ok &&
			(to.Port != 0 || scheme != old && (old == "http" && port == "80" || old == "https" && port == "443")) {
			host = name
		}
	}
	port := ""
	if to.Port != 0 {
		port = ":" + strconv.FormatUint(uint64(to.Port), 10)
	}
	return scheme + "://" + host + port + redirectPath(to, r.Path)
}

// cutPort splits "host:port"; an IPv6 address without port stays whole.
func cutPort(host string) (name, port string, ok bool) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.IndexByte(host[i:], ']') >= 0 {
		return host, "", false
	}
	return host[:i], host[i+1:], true
}

// redirectedPath is the target that a redirect rewrites, as commands see it too; empty: it stays.
func redirectedPath(to *mesh.Redirect, m *mesh.RouteMatch, path string) string {
	switch {
	case to.Path != "":
		return ""
	case to.PrefixPath != "":
		return rewritten(m, path, to.PrefixPath)
	case to.RegexRewrite != nil:
		return regexRewritten(to.RegexRewrite, path)
	}
	return ""
}

func redirectPath(to *mesh.Redirect, path string) string {
	_, query, hasQuery := strings.Cut(path, "?")
	switch {
	case strings.Contains(to.Path, "?"):
		return to.Path // its own query stands, whatever strip_query says
	case to.Path != "" && hasQuery:
		path = to.Path + "?" + query
	case to.Path != "":
		path = to.Path
	}
	if to.StripQuery {
		path, _, _ = strings.Cut(path, "?")
	}
	return path
}

// requestOps and responseOps apply the header operations of all levels. The most specific level goes first, so that the
// others may overwrite it, unless the configuration turns that round.
func (x *exchange) requestOps() {
	x.eachLevel(func(l level) { x.apply(l.request, &x.c.req.Header, nil) })
}

func (x *exchange) responseOps(h *http1.Header) {
	x.eachLevel(func(l level) { x.apply(l.response, h, h) })
}

type level struct{ request, response *mesh.HeaderOps }

func (x *exchange) eachLevel(f func(level)) {
	m := &x.match
	if m.route == nil {
		return
	}
	if x.share != nil {
		f(level{&x.share.RequestHeaders, &x.share.ResponseHeaders})
	}
	rest := [...]level{
		{&m.route.RequestHeaders, &m.route.ResponseHeaders},
		{&m.host.RequestHeaders, &m.host.ResponseHeaders},
		{&m.config.RequestHeaders, &m.config.ResponseHeaders},
	}
	if m.config.MostSpecificHeaderMutationsWins {
		slices.Reverse(rest[:])
	}
	for _, l := range rest {
		f(l)
	}
}

// apply does the operations of one level: removals, then overwriting, then what is added. What is added looks at the fields
// as they were before (Envoy: header_parser.cc, evaluateHeaders). response is nil for a request.
func (x *exchange) apply(ops *mesh.HeaderOps, h, response *http1.Header) {
	for _, name := range ops.Remove {
		h.Del(name)
	}
	if len(ops.Add) == 0 {
		return
	}
	var add, set []http1.Field
	for i := range ops.Add {
		a := &ops.Add[i]
		f := http1.Field{Name: a.Name, Value: a.Value}
		if a.Format != nil {
			f.Value = x.expand(a.Format, response)
		}
		if f.Value == "" && !a.KeepEmptyValue {
			continue
		}
		switch a.Action {
		case mesh.AppendIfExistsOrAdd:
			add = append(add, f)
		case mesh.AddIfAbsent:
			if !h.Has(a.Name) {
				add = append(add, f)
			}
		case mesh.OverwriteIfExists:
			if h.Has(a.Name) {
				set = append(set, f)
			}
		case mesh.OverwriteIfExistsOrAdd:
			set = append(set, f)
		}
	}
	for _, f := range set {
		h.Set(f.Name, f.Value)
	}
	for _, f := range add {
		h.Add(f.Name, f.Value)
	}
}
