// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// serve answers the request whose head was read (Envoy: conn_manager_impl.cc, ActiveStream::decodeHeaders, and router.cc).
func (x *exchange) serve() {
	c, r := x.c, &x.c.req
	x.headTimeout = 0
	x.grpc = isGRPC(&r.Header)
	if r.Close {
		c.closing = true
	}
	framing := r.Framing
	if r.Upgrade != "" || r.Method == "CONNECT" {
		framing = http1.UntilClose // what follows is the other protocol
	}
	c.body.Start(c.in, framing, r.Length)
	x.live()
	if !c.config.Proxy100Continue && strings.EqualFold(r.Header.Value("expect"), "100-continue") {
		c.out.framing = http1.None
		c.out.buf = append(c.out.buf[:0], http1.Continue...)
		if x.flush() != nil {
			x.blame("downstream_remote_disconnect", flagClientEnded)
			return
		}
		r.Header.Del("expect")
	}
	if fragment := strings.IndexByte(r.Path, '#') >= 0; fragment || !r.Header.Has("host") {
		if fragment && r.Header.Has("host") {
			c.v.http.rqBadPath.Add(1)
		}
		c.closing = true
		if x.blame("path_normalization_failed"); !r.Header.Has("host") {
			x.blame("missing_host_header")
		}
		x.refuse(400, nil)
		return
	}
	if c.body.Done() {
		x.finished()
	}
	if !x.normalize() {
		return
	}
	x.sanitize()
	x.decide()
	for x.following.pending {
		x.anew()
		if !x.normalize() {
			return
		}
		x.decide()
	}
}

// decide finds the request's route and does what filters and route say.
func (x *exchange) decide() {
	x.findRoute()
	if x.c.req.Upgrade != "" && !x.upgradable() {
		x.blame("upgrade_failed")
		x.reply(403, "", nil)
		return
	}
	if len(x.c.v.before) > 0 && !x.filterRequest() {
		return
	}
	x.route()
}

// refuse answers a request that is not looked at any further. Its route says what it always says, but Envoy finds routes only
// for requests with x-forwarded-proto, which is set later if the client has not (config_impl.cc, getRouteFromEntries).
func (x *exchange) refuse(status int, change func(*http1.Header)) {
	if x.c.req.Header.Value("x-forwarded-proto") != "" {
		x.findRoute()
	}
	x.reply(status, "", change)
}

// normalize makes path and host canonical; false: the request was answered.
func (x *exchange) normalize() bool {
	c, r := x.c, &x.c.req
	if r.Method != "CONNECT" {
		if r.Path == "" || r.Path[0] != '/' {
			x.blame("absolute_path_rejected")
			x.refuse(404, nil)
			return false
		}
		path, then := normalizePath(&c.config.Paths, r.Path)
		switch r.Path = path; then {
		case rejectPath:
			c.v.http.rqBadPath.Add(1)
			c.closing = true
			x.blame("path_normalization_failed")
			x.refuse(400, nil)
			return false
		case redirectPathTo:
			x.blame("path_normalization_failed")
			if x.grpc { // such a client follows no redirect
				c.v.http.rqBadPath.Add(1)
				x.refuse(400, nil)
				return false
			}
			c.v.http.rqNewPath.Add(1)
			x.refuse(307, func(h *http1.Header) { h.Set("location", path) })
			return false
		}
	}
	if c.config.Authority != (mesh.Authority{}) {
		normalizeHost(&c.config.Authority, r, c.to.Port())
	}
	return true
}

func (x *exchange) upgradable() bool {
	for _, u := range x.c.config.Upgrades {
		if strings.EqualFold(u, x.c.req.Upgrade) {
			return true
		}
	}
	return false
}

// findRoute looks up what the configuration wants for the request.
func (x *exchange) findRoute() {
	x.match = x.lookUp(&x.c.req)
	if r := x.match.route; r != nil && r.Forward != nil {
		x.split(r.Forward)
		x.named = x.clusterName()
		if d := r.Forward.IdleTimeout; d != nil {
			x.idle = *d
		}
		if d := r.Forward.MaxStreamDuration; d != nil {
			x.duration = *d
		}
		if x.grpc && r.Forward.StreamTimeouts {
			x.announceDuration()
		}
	}
}

// announceDuration tells the upstream of a gRPC request how long it may last (Envoy: conn_manager_impl.cc, refreshDurationTimeout).
func (x *exchange) announceDuration() {
	switch h := &x.c.req.Header; {
	case x.duration > 0:
		h.Set("grpc-timeout", formatGRPCTimeout(x.duration))
	case x.c.config.MaxStreamDuration > 0: // the route has switched it off
		h.Del("grpc-timeout")
	}
}

// lookUp finds the route of a request.
func (x *exchange) lookUp(r *http1.Request) match {
	v := x.c.v
	table := v.inline
	if table == nil {
		table = x.c.p.state.Load().routes[routesKey{v.scope, x.c.config.RDS}]
	}
	if table == nil {
		return match{}
	}
	return table.match(r, &x.draw)
}

// route does what the route says.
func (x *exchange) route() {
	stats := x.c.v.http
	switch r := x.match.route; {
	case r == nil:
		stats.noRoute.Add(1)
		x.blame("route_not_found", flagNoRoute)
		x.reply(404, "", nil)
	case r.Direct != nil:
		stats.direct.Add(1)
		x.blame("direct_response")
		x.redirect(r.Direct.Status, string(r.Direct.Body), &mesh.Redirect{})
	case r.Redirect != nil:
		stats.direct.Add(1) // Envoy counts both so
		x.blame("direct_response")
		x.redirect(r.Redirect.Status, "", r.Redirect)
	case r.ToTLS:
		stats.direct.Add(1)
		req := &x.c.req
		x.reply(301, "", func(h *http1.Header) { h.Set("location", "https://"+req.Header.Value("host")+req.Path) })
	case r.Tombstone != "":
		x.reply(503, "", nil)
	default:
		x.forward(r.Forward)
	}
}

// redirect answers with a status and, where the status asks for it, a location: also a direct response of 201 or 3xx has one
// (Envoy: router.cc, decodeHeaders).
func (x *exchange) redirect(status int, body string, to *mesh.Redirect) {
	if path := redirectedPath(to, &x.match.route.Match, x.c.req.Path); path != "" {
		x.c.req.Header.Set("x-envoy-original-path", x.c.req.Path)
		x.c.req.Path = path
	}
	location := redirectTo(to, &x.c.req)
	x.reply(status, body, func(h *http1.Header) {
		if status == 201 || status/100 == 3 {
			h.Set("location", location)
		}
		x.responseOps(h)
	})
}

// forward sends the request to an endpoint and its answer to the client.
func (x *exchange) forward(a *mesh.RouteAction) {
	c := x.c
	x.timeout = a.Timeout
	if a.MaxGRPCTimeout != nil && x.grpc {
		x.timeout = grpcTimeout(a, c.req.Header.Value("grpc-timeout"))
	}
	x.cluster = c.p.state.Load().clusters[mesh.ClusterID{Scope: c.v.scope, Name: x.named}]
	if x.cluster == nil {
		c.v.http.noCluster.Add(1)
		x.blame("cluster_not_found", flagNoCluster)
		x.reply(a.ClusterNotFoundCode, "", nil)
		return
	}
	if x.trial == nil && x.dropped() {
		return
	}
	if x.internal {
		x.takeClientTimeout()
	}
	x.requestOps()
	x.rewrite(a)
	if x.trial != nil {
		x.trial.forwarded(x)
		return
	}
	x.startRetrying(a.Retry)
	for {
		x.announce()
		target := x.pick()
		if target == nil {
			x.cluster.stats.cxNoneHealthy.Add(1)
			x.answered(503)
			x.blame("no_healthy_upstream", flagNoHealthyUpstream)
			x.reply(503, "no healthy upstream", nil)
			break
		}
		if x.retry.count == 1 && len(a.Mirrors) > 0 {
			x.mirror(a)
		}
		if a.AutoHostRewrite {
			x.rewriteHost(a, target.Hostname)
		}
		x.facts.upstream = upstreamFacts{host: x.cluster.host(target.Address), name: target.Hostname}
		if !x.attempt(x.facts.upstream.host) {
			break
		}
	}
	x.endRetry()
	x.endMirrors()
}

// dropped answers what the cluster's drop_overloads turn away (Envoy: router.cc, checkDropOverload).
func (x *exchange) dropped() bool {
	body, mark := dropOverload(x.cluster.view.Load().config.Endpoints)
	if mark == "" {
		return false
	}
	x.answered(503)
	why := flagDropOverload
	if mark == "x-envoy-unconditional-drop-overload" {
		why = flagUnconditionalDrop
	}
	x.blame(spacesToUnderscores(body), why)
	x.reply(503, body, func(h *http1.Header) { h.Set(mark, "true") })
	return true
}

// dropOverload is what is said to a request that is turned away, in body and header; an empty header: it is not.
func dropOverload(e *mesh.Endpoints) (body, mark string) {
	switch {
	case e == nil || e.Drop == 0:
	case e.Drop == 1:
		return "unconditional drop overload", "x-envoy-unconditional-drop-overload"
	case rand.Float32() < e.Drop:
		return "drop overload", "x-envoy-drop-overload"
	}
	return "", ""
}

// announce puts into the request's head what differs from attempt to attempt.
func (x *exchange) announce() {
	h, vh, r := &x.c.req.Header, x.match.host, &x.retry
	r.count++
	if vh.AttemptCountRequest {
		h.Set("x-envoy-attempt-count", strconv.FormatUint(uint64(r.count), 10))
	}
	if vh.IsTimeoutRetry && r.count > 1 {
		h.Set("x-envoy-is-timeout-retry", strconv.FormatBool(r.late))
	}
	expected := x.timeout
	if expected > 0 && r.count > 1 {
		expected = max(expected-x.elapsed(), time.Millisecond)
	}
	if x.tryTimeout > 0 && (expected == 0 || x.tryTimeout < expected) {
		expected = x.tryTimeout
	}
	if expected > 0 {
		h.Set("x-envoy-expected-rq-timeout-ms", strconv.FormatInt(expected.Milliseconds(), 10))
		if x.grpc && x.match.route.Forward.MaxGRPCTimeout != nil {
			h.Set("grpc-timeout", formatGRPCTimeout(expected))
		}
	}
}

// attempt sends the request to a host and answers the client; true: it did not answer, and another attempt must.
func (x *exchange) attempt(h *host) (again bool) {
	if x.retry.policy != nil && x.retry.policy.PreviousHosts {
		x.retry.tried = append(x.retry.tried, h.address)
	}
	x.retry.late = false
	l, fail := x.acquire(h)
	if l == nil {
		if fail == noFailure {
			x.timedOut()
			return false
		}
		return x.failed(h, fail)
	}
	x.facts.connected(l)
	h.monitor.Load().Connected()
	l.begin()
	x.began.Store(max(int64(x.elapsed()), 1))
	x.leg.Store(l)
	x.request(l)
	return x.answer(l)
}

// acquire gets a leg. While the request has to wait for one, its body is read and its timeouts run. Neither a leg nor a failure:
// the exchange was cut.
func (x *exchange) acquire(h *host) (*leg, failure) {
	pool := h.pool(x.match.route.Forward.Priority, x.cluster.view.Load().config.ProxyHeader, x.c.from, x.c.to)
	l, w, fail := pool.acquire()
	if fail == lineFull {
		x.facts.upstream, fail = upstreamFacts{}, overflow
	}
	if w == nil {
		return l, fail
	}
	gone := make(chan struct{})
	x.gone.Store(&gone)
	x.startSide(x.gather)
	defer x.stopSide()
	timer := time.NewTimer(sideLook)
	defer timer.Stop()
	for {
		select {
		case r := <-w.leg:
			pool.leave()
			x.facts.upstream.failure = r.transport
			return r.leg, r.failure
		case <-gone:
			pool.abandon(w)
			return nil, noFailure
		case <-timer.C:
			if !x.overdue() {
				timer.Reset(sideLook)
			}
		}
	}
}

// request writes the head and what is there of the body; a second goroutine sends the rest. Whether the upstream takes it is
// seen when its answer is read.
func (x *exchange) request(l *leg) {
	c, r := x.c, &x.c.req
	framing := framingOf(r)
	l.out.framing, l.out.expired = framing, c.legExpired
	l.out.buf = http1.AppendRequest(l.out.buf[:0], r, framing)
	x.patience(&l.write, 0)
	if r.Upgrade != "" {
		_ = l.out.flush() // see above
		return
	}
	if l.out.piece(x.early, c.body.Done()) != nil {
		return
	}
	if !x.sendBody(false) && !c.body.Done() && x.cause.Load() == running {
		x.startSide(x.send)
	}
}

// framingOf is how a request goes upstream.
func framingOf(r *http1.Request) http1.Framing {
	switch {
	case r.Upgrade != "":
		return http1.UntilClose
	case r.Framing == http1.Length && !r.Header.Has("content-length"):
		return http1.Chunked // a field named by Connection is removed, whichever it is
	}
	return r.Framing
}
