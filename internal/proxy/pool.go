// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// failure is why a request got no answer from its upstream, in Envoy's words (router.cc, upstreamResetReason).
type failure string

const (
	connectFailure failure = "remote connection failure"
	connectTimeout failure = "connection timeout"
	terminated     failure = "connection termination"
	overflow       failure = "overflow"
	lineFull       failure = "overflow " // of the line: Envoy does not name the host then
	protocolError  failure = "protocol error"
	localReset     failure = "local reset"
	noFailure      failure = ""
)

// pool is the HTTP/1.1 connections to one host in one priority. A leg serves one request at a time; requests that find none wait in line, and
// each of them makes a connection be opened (Envoy: conn_pool_base.cc).
type pool struct {
	cluster *cluster
	host    *host
	flight  *flight
	key     poolKey // zero, but where connections begin with a PROXY header

	mu         sync.Mutex
	idle       []*leg // the one that was given back last is used first
	open       int    // legs of any kind: idle, in use, connecting
	connecting int
	line       []*waiter
	closed     bool // the host has left: nothing is kept
	age        int  // legs of another one are not kept
}

// waiter is a request in line.
type waiter struct {
	pool *pool
	leg  chan legResult
}

type legResult struct {
	leg       *leg
	failure   failure
	transport string // why the connection could not be opened; empty: nobody said
}

// acquire returns a leg for one request, or a place in the line, or the reason why neither is to be had. Who has a place
// calls leave when it has heard from it, or abandon.
func (p *pool) acquire() (*leg, *waiter, failure) {
	for {
		l := p.popIdle()
		if l == nil {
			break
		}
		if p.stale(l, time.Now()) {
			p.drop(l)
			continue
		}
		if !p.admit() {
			p.release(l)
			return nil, nil, overflow
		}
		if p.ratio() > 1 {
			p.mu.Lock()
			p.connectForLine()
			p.mu.Unlock()
		}
		return l, nil, noFailure
	}
	c := p.cluster
	if !take(&p.flight.pending, p.flight.limits().MaxPendingRequests) {
		c.stats.rqPendingOverflow.Add(1)
		return nil, nil, lineFull
	}
	c.stats.rqPendingTotal.Add(1)
	c.stats.rqPendingActive.Add(1)
	w := &waiter{pool: p, leg: make(chan legResult, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = append(p.line, w)
	p.connectForLine()
	return nil, w, noFailure
}

// leave says that the request has left the line.
func (p *pool) leave() {
	p.cluster.stats.rqPendingActive.Add(-1)
	p.flight.pending.Add(-1)
}

// abandon takes a request out of the line that has ended meanwhile.
func (p *pool) abandon(w *waiter) {
	defer p.leave()
	p.mu.Lock()
	at := slices.Index(p.line, w)
	if at >= 0 {
		p.line = slices.Delete(p.line, at, at+1)
	}
	p.mu.Unlock()
	if at < 0 { // its turn had come just then
		if r := <-w.leg; r.leg != nil {
			p.flight.requests.Add(-1)
			p.release(r.leg)
		}
	}
	p.cluster.stats.rqCancelled.Add(1)
}

func (p *pool) popIdle() *leg {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	l := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return l
}

// admit counts a request that gets a leg against max_requests.
func (p *pool) admit() bool {
	if take(&p.flight.requests, p.flight.limits().MaxRequests) {
		return true
	}
	p.cluster.stats.rqActiveOverflow.Add(1)
	return false
}

// connectForLine opens connections until there is one under way for each request in line, and those that are wanted ahead; three
// at once, as in Envoy. Called with mu held.
func (p *pool) connectForLine() {
	for n := 0; n < 3 && p.wanted(); n++ {
		words := p.flight.connections()
		if !p.host.admit(words, p.flight.limits()) {
			p.cluster.stats.cxOverflow.Add(1)
			if p.open > 0 {
				return
			}
			p.host.force(words) // with none at all the line would never move; Envoy opens one, too
		}
		p.connecting++
		p.open++
		go p.connect(words)
	}
}

// wanted says whether there are too few connections. Called with mu held.
func (p *pool) wanted() bool {
	ratio := p.ratio()
	if ratio <= 1 {
		return p.connecting < len(p.line)
	}
	busy := p.open - p.connecting - len(p.idle)
	return float64(len(p.line)+busy)*ratio > float64(p.open)
}

// ratio is how many connections are wanted for each request: 1 but for healthy hosts that are connected to ahead.
func (p *pool) ratio() float64 {
	v := p.cluster.view.Load()
	if v.config.PreconnectRatio <= 1 {
		return 1
	}
	for _, h := range v.set.All {
		if h.Address == p.host.address && h.State() == mesh.Healthy {
			return v.config.PreconnectRatio
		}
	}
	return 1
}

// connect opens one connection and gives it to the line. A failure fails the whole line.
func (p *pool) connect(words *gauge) {
	l, fail, transport := p.dial(words)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connecting--
	if l != nil {
		l.age = p.age
	}
	if fail != noFailure {
		p.open--
		for _, w := range p.line {
			w.leg <- legResult{failure: fail, transport: transport}
		}
		p.line = nil
		return
	}
	p.hand(l)
}

// hand gives a leg to whoever is first in line, or keeps it. Called with mu held.
func (p *pool) hand(l *leg) {
	for len(p.line) > 0 {
		w := p.line[0]
		p.line = p.line[1:]
		if p.admit() {
			w.leg <- legResult{leg: l}
			return
		}
		w.leg <- legResult{failure: overflow}
	}
	if p.closed {
		p.open--
		l.close()
		return
	}
	l.idleSince = time.Now()
	l.in.Idle()
	p.idle = append(p.idle, l)
}

// release takes back a leg that can serve again. Before it does, Envoy looks whether those in line may have new ones.
func (p *pool) release(l *leg) {
	p.mu.Lock()
	if l.age != p.age {
		p.mu.Unlock()
		p.drop(l)
		return
	}
	defer p.mu.Unlock()
	if len(p.line) > 0 {
		p.connectForLine()
	}
	p.hand(l)
}

// drop closes a leg that cannot, and opens another if somebody waits.
func (p *pool) drop(l *leg) {
	l.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if len(p.line) > 0 {
		p.connectForLine()
	}
}

// sweep closes idle legs whose server has left or whose idle timeout is over.
func (p *pool) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(l *leg) bool {
		if !p.stale(l, now) {
			return false
		}
		p.open--
		l.close()
		return true
	})
}

// stale says that an idle leg can serve no more.
func (p *pool) stale(l *leg, now time.Time) bool {
	config := p.cluster.view.Load().config
	if d := config.MaxConnectionDuration; d > 0 && now.Sub(l.opened) >= d {
		p.cluster.stats.cxMaxDuration.Add(1)
		return true
	}
	timeout := config.IdleTimeout
	if timeout > 0 && now.Sub(l.idleSince) >= timeout {
		p.cluster.stats.cxIdleTimeout.Add(1)
		return true
	}
	return !l.alive()
}

// inUse says whether there are connections, or requests that wait for one.
func (p *pool) inUse() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open > 0 || len(p.line) > 0
}

// retire closes the pool if there is nothing in it.
func (p *pool) retire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = p.closed || p.open == 0 && len(p.line) == 0
	return p.open == 0 && len(p.line) == 0
}

// close ends what is idle; legs in use end when they are given back.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.idle {
		p.open--
		l.close()
	}
	p.idle = nil
}

// renew ends the legs that there are: those in use when they are given back.
func (p *pool) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.age++
	for _, l := range p.idle {
		p.open--
		l.close()
	}
	p.idle = nil
}

// dial opens a connection to the host and counts it.
func (p *pool) dial(words *gauge) (*leg, failure, string) {
	begun := time.Now()
	conn, fail, transport := p.cluster.dial(p.host, words, p.key.ends)
	if fail != noFailure {
		return nil, fail, transport
	}
	return newLeg(p, conn, words, begun), noFailure, ""
}

// dial opens a connection to a host of the cluster that admit or force has counted; it is given back if it fails. of is
// whose connection it will carry. The last value is what the system says of a failure.
func (c *cluster) dial(h *host, words *gauge, of ends) (*net.TCPConn, failure, string) {
	c.stats.cxTotal.Add(1)
	c.stats.cxActive.Add(1)
	h.cxTotal.Add(1)
	config := c.view.Load().config
	d := net.Dialer{Timeout: config.ConnectTimeout, KeepAlive: -1}
	begun := time.Now()
	conn, err := d.Dial("tcp", h.address.String())
	if err == nil {
		c.stats.cxConnect.add(time.Since(begun))
		if config.ProxyHeader != nil {
			n, _ := conn.Write(appendProxyHeader(nil, config.ProxyHeader, of, conn)) // what is wrong shows at once in what follows
			c.stats.cxTx.Add(uint64(n))
			h.tx.Add(uint64(n))
		}
		return conn.(*net.TCPConn), noFailure, ""
	}
	c.stats.cxConnectFail.Add(1)
	h.cxConnectFail.Add(1)
	c.closed(h, words, begun)
	var t net.Error
	if errors.As(err, &t) && t.Timeout() && !errors.Is(err, syscall.ETIMEDOUT) {
		c.stats.cxConnectTimeout.Add(1)
		return nil, connectTimeout, ""
	}
	return nil, connectFailure, connectError(err, h.address)
}

// closed counts the end of a connection that dial opened.
func (c *cluster) closed(h *host, words *gauge, since time.Time) {
	words.Add(-1)
	c.stats.cxActive.Add(-1)
	c.stats.cxDestroy.Add(1)
	c.stats.cxLength.add(time.Since(since))
	h.cxActive.Add(-1)
}
