// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// mirror is a copy of a request on its way to another cluster (Envoy: router.cc, shadow_writer_impl.cc, and the router that
// its async client runs). It gets the content while the request does, and is cut if the request ends without all of it;
// afterwards nobody waits for it.
type mirror struct {
	cluster *cluster
	req     http1.Request
	framing http1.Framing
	timeout time.Duration // from the end of the request; 0: none
	limit   int           // bytes of content that may wait
	begun   time.Time
	host    *host
	place   *waiter // nil: the leg was there at once

	mu      sync.Mutex
	waiting []byte
	whole   bool // nothing comes after what waits
	broken  bool // nothing comes after what waits, and the request is not whole
	timer   *time.Timer

	more, room chan struct{} // hold a token after waiting grew, shrank
	cause      atomic.Int32  // why it was cut; see exchange
	gone       chan struct{} // closed by cut
	over       chan struct{} // closed when it has ended
	leg        atomic.Pointer[leg]
}

// mirrorEnded is the cause of what was not cut.
const mirrorEnded = cutOff + 1

// mirrors are those that run.
type mirrors struct {
	mu  sync.Mutex
	all map[*mirror]bool
}

func (s *mirrors) add(m *mirror) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*mirror]bool{}
	}
	s.all[m] = true
}

func (s *mirrors) remove(m *mirror) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, m)
}

func (s *mirrors) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.all {
		m.cut(cutOff)
	}
}

// mirror starts what the route's policies want for the request, whose head is as it goes upstream.
func (x *exchange) mirror(a *mesh.RouteAction) {
	if x.c.req.Method == "CONNECT" {
		return
	}
	p, whole := x.c.p, x.c.body.Done()
	for i := range a.Mirrors {
		policy := &a.Mirrors[i]
		if policy.Fraction != nil && !x.draw.hits(policy.Fraction) {
			continue
		}
		name := policy.Cluster
		if name == "" {
			name, _ = field(&x.c.req, policy.Header)
		}
		c := p.state.Load().clusters[mesh.ClusterID{Scope: x.c.v.scope, Name: name}]
		if c == nil {
			continue
		}
		m := &mirror{cluster: c, req: x.c.req, framing: framingOf(&x.c.req), timeout: x.timeout, limit: int(a.BufferLimit),
			begun: time.Now(), more: make(chan struct{}, 1), room: make(chan struct{}, 1), gone: make(chan struct{}), over: make(chan struct{})}
		m.address(policy)
		m.waiting = slices.Clone(x.early)
		if !m.start() {
			continue
		}
		if whole {
			m.complete()
		} else {
			x.mirrors = append(x.mirrors, m)
		}
		p.mirrors.add(m)
		p.running.Go(func() {
			defer p.mirrors.remove(m)
			m.run()
		})
	}
}

// address makes the head the copy's own.
func (m *mirror) address(policy *mesh.Mirror) {
	h := &m.req.Header
	h.Fields = slices.Clone(h.Fields)
	mutate(policy.Mutations, h)
	switch host := h.Value("host"); {
	case policy.HostRewriteLiteral != "":
		h.Set("host", policy.HostRewriteLiteral)
	case !policy.KeepHost:
		name, port, ok := cutPort(host)
		name += "-shadow"
		if ok {
			name += ":" + port
		}
		h.Set("host", name)
	}
	h.Set("x-envoy-internal", "true")
	h.Add("x-forwarded-for", hostAddress())
	if m.timeout > 0 {
		h.Set("x-envoy-expected-rq-timeout-ms", strconv.FormatInt(m.timeout.Milliseconds(), 10))
	}
}

// reflect gives content to the mirrors.
func (x *exchange) reflect(piece []byte, last bool) {
	for _, m := range x.mirrors {
		m.feed(x, piece, last)
	}
}

// endMirrors cuts what has not got all of the request.
func (x *exchange) endMirrors() {
	for i, m := range x.mirrors {
		m.breakOff()
		x.mirrors[i] = nil
	}
	x.mirrors = x.mirrors[:0]
}

// breakOff ends a mirror whose request has ended without its end. What there was of it is sent, if there is a leg.
func (m *mirror) breakOff() {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch l := m.leg.Load(); {
	case m.whole:
	case l == nil:
		m.cut(cutOff)
	default:
		m.broken = true
		token(m.more)
		_ = l.conn.SetWriteDeadline(time.Now().Add(replyPatience)) // the leg cannot serve again
	}
}

// feed adds content. A mirror that does not keep up holds the request back, as in Envoy; one that still does when the request
// is over gets no more.
func (m *mirror) feed(x *exchange, piece []byte, last bool) {
	for !m.take(piece, last) {
		wait := time.NewTimer(watchAfter)
		select {
		case <-m.room:
		case <-m.over:
			wait.Stop()
			return
		case <-wait.C:
			if x.ending() || x.overdue() {
				m.cut(cutOff)
				return
			}
		}
		wait.Stop()
	}
}

// take adds content if there is room; false: there is none.
func (m *mirror) take(piece []byte, last bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) > 0 && len(m.waiting)+len(piece) > m.limit {
		return false
	}
	m.waiting = append(m.waiting, piece...)
	if last && m.framing != http1.UntilClose { // else the client has left
		m.completeLocked()
	}
	token(m.more)
	return true
}

func (m *mirror) complete() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.completeLocked()
}

// completeLocked notes the end of the request, from where the timeout runs.
func (m *mirror) completeLocked() {
	m.whole = true
	if m.timeout > 0 {
		m.timer = time.AfterFunc(m.timeout, func() { m.cut(answerOverdue) })
	}
}

// next waits for content; false: it was cut.
func (m *mirror) next() (piece []byte, last, ok bool) {
	for m.cause.Load() == running {
		m.mu.Lock()
		piece, last = m.waiting, m.whole
		m.waiting = nil
		broken := m.broken
		m.mu.Unlock()
		if broken && len(piece) == 0 {
			m.cut(cutOff)
			break
		}
		if len(piece) > 0 || last {
			token(m.room)
			return piece, last, true
		}
		select {
		case <-m.more:
		case <-m.gone:
		}
	}
	return nil, false, false
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// cut ends the mirror from any goroutine.
func (m *mirror) cut(c cause) {
	if !m.cause.CompareAndSwap(running, c) {
		return
	}
	close(m.gone)
	if l := m.leg.Load(); l != nil {
		_ = l.conn.SetDeadline(past)
	}
}

// run does everything else.
func (m *mirror) run() {
	m.attempt()
	m.cause.CompareAndSwap(running, mirrorEnded)
	close(m.over)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer != nil {
		m.timer.Stop()
	}
}

// start chooses a host and gets a leg, or a place in the line for one; false: the mirror has failed.
func (m *mirror) start() bool {
	c := m.cluster
	view := c.view.Load()
	if _, mark := dropOverload(view.config.Endpoints); mark != "" {
		c.stats.answered(503)
		return false
	}
	target := (&namedHosts{}).next(&m.req.Header, view.config.OverrideHeaders, view.set)
	if target == nil {
		target = view.balancer.pick(selection{})
	}
	if target == nil {
		c.stats.cxNoneHealthy.Add(1)
		c.stats.answered(503)
		return false
	}
	m.host = c.host(target.Address)
	var fail failure
	var l *leg
	if l, m.place, fail = m.pool().acquire(); l != nil {
		m.hold(l)
	}
	return fail == noFailure || m.failed(fail)
}

// failed counts an attempt without an answer, and is false.
func (m *mirror) failed(why failure) bool {
	status := 503
	if why == protocolError {
		status = 502
	}
	m.host.rqError.Add(1)
	if why != overflow {
		m.host.monitor.Load().Failed()
	}
	m.cluster.stats.answered(status)
	return false
}

// hold begins with a leg.
func (m *mirror) hold(l *leg) {
	m.host.monitor.Load().Connected()
	l.begin()
	l.read.move(time.Time{})
	l.write.move(time.Time{})
	m.leg.Store(l)
	if m.cause.Load() != running {
		_ = l.conn.SetDeadline(past) // cut had no leg yet
	}
}

func (m *mirror) attempt() {
	l := m.leg.Load()
	if l == nil {
		var fail failure
		switch l, fail = m.await(); {
		case fail != noFailure:
			m.failed(fail)
			return
		case l == nil:
			m.charge(false)
			return
		}
		m.hold(l)
	}
	headed, err := m.exchange(l)
	again := err == nil && !l.response.Close && len(l.in.Buffered()) == 0 && m.cause.CompareAndSwap(running, mirrorEnded)
	m.leg.Store(nil)
	switch {
	case err == nil || m.cause.Load() == cutOff:
	case m.cause.Load() == answerOverdue:
		m.charge(headed)
		m.host.rqTimeout.Add(1)
		if !headed {
			m.host.monitor.Load().TimedOut()
		}
	case errors.As(err, new(*http1.Error)) || errors.Is(err, io.ErrUnexpectedEOF):
		m.cluster.stats.cxProtocolError.Add(1)
		if !headed {
			m.failed(protocolError)
			break
		}
		m.host.monitor.Load().Failed()
	case !headed:
		m.failed(terminated)
	case !errors.Is(err, errUnsent):
		m.host.monitor.Load().Failed()
	}
	l.end(again, time.Since(m.begun))
}

// pool is where its leg comes from. It carries no client's connection, so that a PROXY header names none.
func (m *mirror) pool() *pool {
	return m.host.pool(mesh.PriorityDefault, m.cluster.view.Load().config.ProxyHeader, netip.AddrPort{}, netip.AddrPort{})
}

// await waits in line; neither a leg nor a failure: the mirror was cut.
func (m *mirror) await() (*leg, failure) {
	pool := m.place.pool
	select {
	case r := <-m.place.leg:
		pool.leave()
		return r.leg, r.failure
	case <-m.gone:
		pool.abandon(m.place)
		return nil, noFailure
	}
}

// errUnsent is an answer to a request that was not sent to its end: its leg cannot serve again.
var errUnsent = errors.New("the request was not sent to its end")

// exchange sends the copy and reads the answer; headed: its head has come.
func (m *mirror) exchange(l *leg) (headed bool, err error) {
	l.out.framing, l.out.expired = m.framing, func() bool { return true }
	l.out.buf = http1.AppendRequest(l.out.buf[:0], &m.req, m.framing)
	m.mu.Lock()
	whole := m.whole
	m.mu.Unlock()
	if whole {
		m.send(l)
		return m.answer(l)
	}
	_ = l.out.flush() // the content may be long in coming
	sent := make(chan bool, 1)
	go func() { sent <- m.send(l) }()
	headed, err = m.answer(l)
	m.mu.Lock()
	whole = m.whole
	m.mu.Unlock()
	if err == nil && !whole {
		err = errUnsent
	}
	if err != nil {
		m.cut(mirrorEnded)
	}
	if !<-sent && err == nil {
		err = errUnsent
	}
	return headed, err
}

// send writes head and content. Whether the upstream takes them is seen when its answer is read.
func (m *mirror) send(l *leg) bool {
	for {
		piece, last, ok := m.next()
		if !ok {
			return false
		}
		err := l.out.piece(piece, last)
		if err == nil {
			err = l.out.flush()
		}
		if err != nil {
			if timedOut(err) {
				m.cut(cutOff) // breakOff's deadline, or somebody has cut it
			}
			return false
		}
		if last {
			return true
		}
	}
}

// answer reads the response and throws it away.
func (m *mirror) answer(l *leg) (headed bool, err error) {
	r, s := &l.response, m.cluster.stats
	for {
		if err := l.in.ReadResponse(r, m.req.Method, l.maxHead, l.maxFields); err != nil {
			return false, err
		}
		s.answered(r.Status)
		if r.Status >= 200 || r.Status == 101 {
			break
		}
	}
	m.cluster.asksToLeave(m.host, &r.Header)
	m.host.monitor.Load().Answered(m.cluster.outcome(r, isGRPC(&m.req.Header)))
	if r.Status >= 500 {
		l.pool.host.rqError.Add(1)
	} else {
		l.pool.host.rqSuccess.Add(1)
	}
	l.body.Start(l.in, r.Framing, r.Length)
	for !l.body.Done() {
		if _, _, err := l.body.Next(true); err != nil {
			return true, err
		}
	}
	return true, nil
}

// charge counts a mirror that ran into its timeout.
func (m *mirror) charge(headed bool) {
	if m.cause.Load() != answerOverdue {
		return
	}
	m.cluster.stats.rqTimeout.Add(1)
	if !headed {
		m.cluster.stats.answered(504)
	}
}
