// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// retrying is what an exchange knows of its attempts (Envoy: retry_state_impl.cc). It belongs to the connection's goroutine,
// but for tooLarge.
type retrying struct {
	policy *mesh.RetryPolicy // nil: a failure is final
	on     mesh.RetryOn
	left   uint32        // retries
	next   time.Duration // the bound of the next back-off
	wait   time.Duration // until the next attempt
	kind   *counter      // of such waits

	count  uint32           // of attempts; 0: none was made
	tried  []netip.AddrPort // if the policy avoids previous hosts
	late   bool             // the last attempt ran into its timeout
	rests  bool             // it was cut while no attempt ran
	active *gauge           // the word that counts this retry against its limit; nil: none runs

	named namedHosts

	tooLarge atomic.Bool // not all of the body is kept
}

// startRetrying prepares for what the route wants.
func (x *exchange) startRetrying(p *mesh.RetryPolicy) {
	r := &x.retry
	r.policy, r.on, r.left, r.next, r.wait = nil, 0, 0, 0, 0
	r.count, r.tried, r.late, r.rests, r.active = 0, r.tried[:0], false, false, nil
	r.named.read = false
	r.tooLarge.Store(false)
	x.tryTimeout, x.tryIdle = 0, 0
	if p == nil {
		return
	}
	if p.PerTryTimeout > 0 && (x.timeout == 0 || p.PerTryTimeout < x.timeout) {
		x.tryTimeout = p.PerTryTimeout
	}
	x.tryIdle = p.PerTryIdleTimeout
	if p.On == 0 || len(p.RequestHeaders) > 0 && !slices.ContainsFunc(p.RequestHeaders,
		func(m mesh.HeaderMatch) bool { return headerMatches(&m, &x.c.req) }) {
		return
	}
	r.policy, r.on, r.left, r.next = p, p.On, p.NumRetries, p.BackOffBase
}

// keeps says that the body must be kept for another attempt, or for where a redirect leads to.
func (x *exchange) keeps() bool {
	return (x.retry.policy != nil || x.match.route.Forward.InternalRedirect != nil) && !x.retry.tooLarge.Load()
}

// keep adds a piece of the body to what another attempt would need.
func (x *exchange) keep(piece []byte) {
	if !x.keeps() {
		return
	}
	if uint64(len(x.early)+len(piece)) > x.match.route.Forward.BufferLimit {
		x.retry.tooLarge.Store(true)
		x.cluster.stats.retryAbandoned.Add(1)
		return
	}
	x.early = append(x.early, piece...)
}

// pick chooses the host of the next attempt.
func (x *exchange) pick() *mesh.Host {
	v := x.cluster.view.Load()
	if headers := v.config.OverrideHeaders; headers != nil {
		if h := x.retry.named.next(&x.c.req.Header, headers, v.set); h != nil {
			return h
		}
	}
	b := v.balancer
	want := x.selection(b)
	h := b.pick(want)
	if p := x.retry.policy; x.retry.count > 0 && p != nil && p.PreviousHosts {
		for i := uint32(0); i < p.HostAttempts && h != nil && slices.Contains(x.retry.tried, h.Address); i++ {
			want.attempt++
			h = b.pick(want)
		}
	}
	return h
}

// afterResponse decides about a response whose head was read; true: it is thrown away.
func (x *exchange) afterResponse(r *http1.Response) bool {
	if x.retry.policy == nil {
		return false
	}
	if !x.granted(retriable(x.retry.policy, x.retry.on, r)) {
		return false
	}
	if at := rateLimited(x.retry.policy.RateLimited, &r.Header, time.Now()); at > time.Millisecond {
		x.retry.wait, x.retry.kind = at+rand.N(max(at/2, 1)), &x.cluster.stats.rqRetryLimited
	} else {
		x.exponential()
	}
	return true
}

// afterFailure decides about an attempt without a response. sent: a part of the request went upstream.
func (x *exchange) afterFailure(why failure, sent bool) bool {
	if x.retry.policy == nil || !x.granted(retriableFailure(x.retry.on, why, sent)) {
		return false
	}
	x.exponential()
	return true
}

// granted takes a retry from all limits, if it is wanted.
func (x *exchange) granted(wanted bool) bool {
	r, s := &x.retry, x.cluster.stats
	if r.active != nil && !wanted {
		s.rqRetrySuccess.Add(1)
	}
	x.endRetry()
	switch {
	case !wanted || r.tooLarge.Load():
		return false
	case r.left == 0:
		s.rqRetryLimit.Add(1)
		x.facts.flags.add(flagRetryLimit)
		return false
	}
	r.left--
	f := &x.cluster.flights[x.match.route.Forward.Priority]
	if !f.retry() {
		s.rqRetryOverflow.Add(1)
		x.facts.flags.add(flagOverflow)
		return false
	}
	r.active = &f.retries
	return true
}

// endRetry gives back what granted took.
func (x *exchange) endRetry() {
	if x.retry.active != nil {
		x.retry.active.Add(-1)
		x.retry.active = nil
	}
}

// exponential sets the wait: random below a bound that doubles, in whole milliseconds.
func (x *exchange) exponential() {
	r := &x.retry
	bound := r.next
	r.next = min(2*r.next, r.policy.BackOffMax)
	r.wait, r.kind = rand.N(max(bound, time.Millisecond)).Truncate(time.Millisecond), &x.cluster.stats.rqRetryExponential
}

// backOff ends an attempt and waits for the next one, while the client is watched and its timeouts run. False: the exchange has
// ended meanwhile, and was answered.
func (x *exchange) backOff(reusable bool) bool {
	x.stopSide()
	x.endLeg(reusable)
	x.began.Store(0)
	x.heard.Store(0)
	x.sent.Store(false)
	x.cause.CompareAndSwap(tryOverdue, running)
	x.cause.CompareAndSwap(tryIdleOverdue, running)
	if x.cause.Load() == running && x.retry.wait > 0 {
		x.await(x.retry.wait)
	}
	if x.cause.Load() != running {
		x.retry.rests = true
		x.timedOut()
		return false
	}
	// A retry that was waited for in vain is not counted.
	x.cluster.stats.rqRetry.Add(1)
	x.retry.kind.Add(1)
	return true
}

// await lets time pass, reading the client meanwhile.
func (x *exchange) await(d time.Duration) {
	gone := make(chan struct{})
	x.gone.Store(&gone)
	x.startSide(x.gather)
	defer x.stopSide()
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 || x.overdue() {
			return
		}
		t := time.NewTimer(min(left, sideLook))
		select {
		case <-gone:
		case <-t.C:
		}
		t.Stop()
	}
}

// retriable says whether a policy wants another attempt after a response.
func retriable(p *mesh.RetryPolicy, on mesh.RetryOn, r *http1.Response) bool {
	has := func(c mesh.RetryOn) bool { return on&c != 0 }
	if r.Header.Has("x-envoy-ratelimited") {
		return has(mesh.RetryEnvoyRateLimited)
	}
	return has(mesh.Retry5xx) && r.Status/100 == 5 ||
		has(mesh.RetryGatewayError) && r.Status >= 502 && r.Status <= 504 ||
		has(mesh.RetryRetriable4xx) && r.Status == 409 ||
		has(mesh.RetryRetriableStatusCodes) && slices.Contains(p.StatusCodes, uint32(r.Status)) ||
		has(mesh.RetryRetriableHeaders) && responseMatches(p.Headers, r) ||
		has(grpcConditions) && has(grpcRetries[r.Header.Value("grpc-status")])
}

const grpcConditions = mesh.RetryGRPCCancelled | mesh.RetryGRPCDeadlineExceeded | mesh.RetryGRPCInternal |
	mesh.RetryGRPCResourceExhausted | mesh.RetryGRPCUnavailable

// grpcRetries are the codes of gRPC that can be asked for.
var grpcRetries = map[string]mesh.RetryOn{"1": mesh.RetryGRPCCancelled, "4": mesh.RetryGRPCDeadlineExceeded,
	"8": mesh.RetryGRPCResourceExhausted, "13": mesh.RetryGRPCInternal, "14": mesh.RetryGRPCUnavailable}

// responseMatches compares a response's fields; ":status" is one of them.
func responseMatches(all []mesh.HeaderMatch, r *http1.Response) bool {
	as := matchable(r)
	return slices.ContainsFunc(all, func(m mesh.HeaderMatch) bool { return headerMatches(&m, as) })
}

// matchable is a response as matches of headers see it.
func matchable(r *http1.Response) *http1.Request {
	fields := append(slices.Clip(r.Header.Fields), http1.Field{Name: ":status", Value: strconv.Itoa(r.Status)})
	return &http1.Request{Header: http1.Header{Fields: fields}}
}

// retriableFailure says whether conditions cover an attempt without a response. An overflow is the cluster's and not the host's:
// another attempt would make it worse.
func retriableFailure(on mesh.RetryOn, why failure, sent bool) bool {
	has := func(c mesh.RetryOn) bool { return on&c != 0 }
	if why == overflow {
		return false
	}
	return has(mesh.RetryReset|mesh.Retry5xx|mesh.RetryGatewayError) ||
		has(mesh.RetryResetBeforeRequest) && !sent ||
		has(mesh.RetryConnectFailure) && (why == connectFailure || why == connectTimeout)
}

// rateLimited is the time that a response asks to wait; 0: it does not.
func rateLimited(b *mesh.RateLimitedBackOff, h *http1.Header, now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	for _, reset := range b.Headers {
		v, ok := h.Get(reset.Name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			continue
		}
		wait := time.Duration(n) * time.Second
		if reset.Unix {
			wait = time.Unix(int64(n), 0).Sub(now)
		}
		if wait > 0 && wait <= b.Max {
			return wait
		}
	}
	return 0
}
