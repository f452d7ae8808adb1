// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// following is what an exchange knows of the redirects that it has followed in the place of its client.
type following struct {
	pending bool // the request leads elsewhere and begins anew
	count   uint32
	seen    []hop
}

// hop is a pair of routes that the predicate previous_routes has seen.
type hop struct{ from, to string }

// follows decides about a response whose head was read; true: the request now is the one that it redirects to
// (Envoy: router.cc, setupRedirect).
func (x *exchange) follows(r *http1.Response) bool {
	p := x.match.route.Forward.InternalRedirect
	if p == nil || !slices.Contains(p.Codes, r.Status) {
		return false
	}
	to, there := r.Header.Get("location")
	if !there || x.complete.Load() == 0 || !x.sent.Load() || x.retry.tooLarge.Load() || !x.redirectTo(p, to, r) {
		x.cluster.stats.redirectFailed.Add(1)
		return false
	}
	x.cluster.stats.redirectFollowed.Add(1)
	x.facts.status = r.Status
	x.blame("internal_redirect")
	x.logUnanswered()
	x.following.pending = true
	return true
}

// redirectTo changes the request to what a redirect wants; false: it may not, and stays (Envoy: router.cc,
// convertRequestHeadersForInternalRedirect).
func (x *exchange) redirectTo(p *mesh.InternalRedirect, text string, r *http1.Response) bool {
	stats, req := x.c.v.http, &x.c.req
	to, ok := parseLocation(text)
	switch {
	case !ok:
		stats.redirectLocation.Add(1)
		return false
	case !p.CrossScheme && to.scheme != "http":
		stats.redirectScheme.Add(1)
		return false
	case x.following.count >= p.Max:
		stats.redirectTooMany.Add(1)
		return false
	}
	next := *req
	next.Header.Fields = slices.Clone(req.Header.Fields)
	for _, name := range p.Copy {
		next.Header.Del(name)
		for _, f := range r.Header.Fields {
			if f.Name == name {
				next.Header.Fields = append(next.Header.Fields, f)
			}
		}
	}
	next.Scheme, next.Path = to.scheme, to.path
	next.Header.Set("host", to.host)
	target := x.lookUp(&next).route
	x.facts.leads = leadsTo(target)
	if target == nil {
		stats.redirectNoRoute.Add(1)
		return false
	}
	if !x.accepted(p.Predicates, target.Name, to.scheme) {
		stats.redirectPredicate.Add(1)
		return false
	}
	if r.Status == 303 && req.Method != "GET" && req.Method != "HEAD" {
		next.Method, next.Framing, next.Length = "GET", http1.None, 0
		next.Header.Del("content-length")
		x.early = x.early[:0]
	}
	// Without TLS the client's scheme is always http.
	next.Header.Set("x-envoy-original-url", "http://"+req.Header.Value("host")+req.Path)
	x.following.count++
	*req = next
	return true
}

// leadsTo is the cluster that Envoy names as that of a request as soon as it has looked at the route that a redirect leads to.
func leadsTo(r *mesh.Route) *string {
	var name string
	if r != nil && r.Forward != nil && len(r.Forward.Clusters) > 0 {
		name = r.Forward.Clusters[0].Name
	}
	return &name
}

// accepted asks the predicates about a route.
func (x *exchange) accepted(all []mesh.RedirectPredicate, name, scheme string) bool {
	for _, p := range all {
		switch p.Kind {
		case mesh.AllowListedRoutes:
			if !slices.Contains(p.Routes, name) {
				return false
			}
		case mesh.SafeCrossScheme:
			if scheme != "http" {
				return false
			}
		case mesh.PreviousRoutes:
			h := hop{x.match.route.Name, name}
			if slices.Contains(x.following.seen, h) {
				return false
			}
			x.following.seen = append(x.following.seen, h)
		}
	}
	return true
}

// anew makes x ready for the request that a redirect has led to, whose content is kept (Envoy: filter_manager.cc,
// recreateStream).
func (x *exchange) anew() {
	config := x.c.config
	x.endFilters()
	x.c.v.http.rqTotal.Add(1)
	x.following.pending = false
	x.filtered, x.uncounted, x.metadata = false, false, nil
	x.begun = time.Now()
	x.facts = facts{begun: x.begun}
	x.sentAt.Store(0)
	x.idle, x.timeout, x.duration = config.StreamIdleTimeout, 0, config.MaxStreamDuration
	x.sent.Store(false)
	x.began.Store(0)
	x.heard.Store(0)
	x.retry.count, x.retry.policy = 0, nil
	x.draw, x.match, x.cluster, x.share = 0, match{}, nil, nil
	x.cookies = x.cookies[:0]
	x.live()
	x.finished()
}
