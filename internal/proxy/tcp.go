// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// tcpConn is one connection of a tcp_proxy listener and the one to its endpoint.
type tcpConn struct {
	v        *chain
	client   *net.TCPConn
	ends     ends
	upstream atomic.Pointer[net.TCPConn]
	ended    atomic.Bool
	facts    facts
	cluster  string      // empty: there is none
	tooOld   atomic.Bool // max_downstream_connection_duration has ended it
	received atomic.Uint64
	sent     atomic.Uint64
	judge    func() (time.Duration, bool) // asked when the client's first bytes come; nil: everybody passes
}

// retire implements connection: a TCP connection cannot know where it may end, it goes on until it is cut.
func (c *tcpConn) retire() {}

// cut implements connection.
func (c *tcpConn) cut() {
	c.ended.Store(true)
	c.client.Close()
	if u := c.upstream.Load(); u != nil {
		u.Close()
	}
}

// outlived ends a connection that has become too old.
func (c *tcpConn) outlived() {
	c.v.tcp.maxDuration.Add(1)
	c.tooOld.Store(true)
	c.end()
}

// end ends the connection in order.
func (c *tcpConn) end() {
	_ = c.client.SetLinger(-1) // an orderly end; errors mean that it has ended already
	if u := c.upstream.Load(); u != nil {
		_ = u.SetLinger(-1)
	}
	c.cut()
}

// serveTCP connects a client to an endpoint and copies both ways (Envoy: tcp_proxy.cc).
func (p *Proxy) serveTCP(v *chain, client *net.TCPConn, a *arrival) {
	c := &tcpConn{v: v, client: client, ends: ends{a.remote, a.local}, facts: facts{begun: time.Now()}}
	if len(v.judges) > 0 {
		c.judge = func() (time.Duration, bool) { return v.passes(a) }
	}
	v.add(c)
	defer v.remove(c)
	if len(v.logs) > 0 {
		at := connectionFacts{connectionIDs.Add(1), v.config.Name, a, addressOf(client.LocalAddr())}
		defer c.log(&at)
	}
	v.tcp.total.Add(1)
	if d := v.config.TCP.MaxDuration; d > 0 {
		d += time.Duration(rand.Float64() * v.config.TCP.MaxDurationJitter / 100 * float64(d))
		defer time.AfterFunc(d, c.outlived).Stop()
	}
	// If the agent dies, nobody must take that for the end of the data.
	_ = client.SetLinger(0)
	name := share(v.config.TCP.Clusters).Name
	cl := p.state.Load().clusters[mesh.ClusterID{Scope: v.scope, Name: name}]
	if cl == nil {
		v.tcp.noRoute.Add(1)
		c.facts.flags.add(flagNoCluster)
		_ = client.SetLinger(-1)
		return
	}
	c.cluster = name
	if v.config.TCP.AwaitData && !awaitData(client) {
		_ = client.SetLinger(-1)
		return
	}
	var want selection
	if v.config.TCP.HashSourceIP {
		want = selection{hash: xxHash64(a.remote.Addr().String(), 0), hashed: true}
	}
	h, up, words := c.connect(cl, v.config.TCP, want)
	if up == nil {
		_ = client.SetLinger(-1)
		return
	}
	opened := time.Now()
	c.upstream.Store(up)
	_ = up.SetLinger(0)
	h.active.Add(1)
	h.rqTotal.Add(1)
	h.rqActive.Add(1)
	h.carried.add(c)
	defer func() {
		h.carried.remove(c)
		up.Close()
		cl.closed(h, words, opened)
		h.leave(cl, words, noFailure)
		h.active.Add(-1)
		h.rqActive.Add(-1)
		h.rqSuccess.Add(1)
	}()
	if c.ended.Load() {
		return
	}
	c.relay(cl, h, up)
}

// log tells of a connection, which is over.
func (c *tcpConn) log(at *connectionFacts) {
	c.facts.received, c.facts.sent = c.received.Load(), c.sent.Load()
	c.facts.ending = at.arrival.ending
	if c.tooOld.Load() {
		c.facts.flags.add(flagDurationTimeout)
	}
	s := scene{facts: &c.facts, connection: at, remote: at.arrival.remote, cluster: c.cluster, streamID: newRequestID(), logType: "TcpConnectionEnd"}
	s.log(c.v.logs)
}

// connect tries hosts until one takes the connection; nil: none did.
func (c *tcpConn) connect(cl *cluster, config *mesh.TCPProxy, want selection) (*host, *net.TCPConn, *gauge) {
	flight := &cl.flights[mesh.PriorityDefault]
	words := flight.connections()
	bound := config.BackOffBase
	f := &c.facts
	for i := range config.MaxConnectAttempts {
		if i > 0 && bound > 0 {
			if !c.pause(rand.N(bound)) {
				return nil, nil, nil
			}
			bound = min(2*bound, config.BackOffMax)
		}
		target := cl.view.Load().balancer.pick(want)
		if target == nil {
			cl.stats.cxNoneHealthy.Add(1)
			f.flags.add(flagNoHealthyUpstream)
			return nil, nil, nil
		}
		flight.tcp.Lock()
		if words.Load() >= int64(flight.limits().MaxConnections) {
			flight.tcp.Unlock()
			cl.stats.cxOverflow.Add(1)
			f.flags.add(flagOverflow)
			return nil, nil, nil
		}
		if !take(&flight.pending, flight.limits().MaxPendingRequests) {
			flight.tcp.Unlock()
			cl.stats.rqPendingOverflow.Add(1)
			continue
		}
		cl.stats.rqPendingTotal.Add(1)
		cl.stats.rqPendingActive.Add(1)
		h := cl.host(target.Address)
		turn := h.enter(cl, words)
		flight.tcp.Unlock()
		f.attempts++
		f.upstream = upstreamFacts{host: h, name: target.Hostname, dialed: time.Now()}
		conn, fail, transport := c.open(cl, h, words, turn)
		cl.stats.rqPendingActive.Add(-1)
		flight.pending.Add(-1)
		switch {
		case conn != nil:
			f.upstream.open, f.upstream.id = time.Now(), legIDs.Add(1)
			f.upstream.local, f.upstream.remote = addressOf(conn.LocalAddr()), h.address
			h.monitor.Load().ConnectedOnly()
			return h, conn, words
		case fail == noFailure: // the client has left
			cl.stats.rqCancelled.Add(1)
			return nil, nil, nil
		case fail == connectTimeout:
			h.monitor.Load().TimedOut()
		default:
			h.monitor.Load().Failed()
		}
		f.upstream.failure = transport
		f.flags.add(flagConnectFailure)
	}
	f.flags.add(flagRetryLimit)
	cl.stats.cxAttemptsExceeded.Add(1)
	return nil, nil, nil
}

// open waits for its turn at the host, if it has no room yet, and opens a connection; neither a connection nor a failure: the
// client has left meanwhile.
// The last value is what the system says of a failure.
func (c *tcpConn) open(cl *cluster, h *host, words *gauge, turn chan failure) (*net.TCPConn, failure, string) {
	if turn != nil {
		why, mine := c.wait(h, turn)
		if !mine || why != noFailure {
			return nil, why, ""
		}
	}
	conn, fail, transport := cl.dial(h, words, c.ends)
	if fail != noFailure {
		h.leave(cl, words, fail)
	}
	return conn, fail, transport
}

// relay copies until both directions have ended, one of them is broken, or nothing has moved for idle_timeout.
func (c *tcpConn) relay(cl *cluster, h *host, up *net.TCPConn) {
	r := &relay{idle: c.v.config.TCP.IdleTimeout, a: c.client, b: up}
	r.touch()
	var done sync.WaitGroup
	done.Go(func() {
		if !c.passes(r) {
			return
		}
		r.copy(c.client, up, func(n uint64) {
			c.v.tcp.rx.Add(n)
			c.received.Add(n)
			h.tx.Add(n)
			cl.stats.cxTx.Add(n)
		})
	})
	r.copy(up, c.client, func(n uint64) {
		c.v.tcp.tx.Add(n)
		c.sent.Add(n)
		h.rx.Add(n)
		cl.stats.cxRx.Add(n)
	})
	done.Wait()
	switch r.resetBy.Load() {
	case up:
		c.facts.flags.add(flagRemoteReset)
	case c.client:
		c.facts.flags.add(flagClientReset)
	}
	if r.wasIdle.Load() {
		c.v.tcp.idleTimeout.Add(1)
	}
	if !r.reset.Load() {
		_ = c.client.SetLinger(-1)
		_ = up.SetLinger(-1)
	}
}

// relay is the two directions of a connection.
type relay struct {
	idle time.Duration // 0: no limit
	a, b *net.TCPConn

	moved                atomic.Int64 // when a byte moved last, Unix nanoseconds
	over, wasIdle, reset atomic.Bool
	resetBy              atomic.Pointer[net.TCPConn] // the first one that was; nil: none
}

func (r *relay) touch() { r.moved.Store(time.Now().UnixNano()) }

var relayBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copy moves one direction and passes its end on.
func (r *relay) copy(from, to *net.TCPConn, count func(uint64)) {
	buf := relayBuffers.Get().(*[32 << 10]byte)
	defer relayBuffers.Put(buf)
	read, write := deadline{set: from.SetReadDeadline}, deadline{set: to.SetWriteDeadline}
	for {
		var n int
		at := from
		err := r.patiently(&read, func() (e error) { n, e = from.Read(buf[:]); return })
		if n > 0 {
			r.touch()
			left := buf[:n]
			at = to
			err = r.patiently(&write, func() error {
				k, e := to.Write(left)
				left = left[k:]
				count(uint64(k))
				return e
			})
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if to.CloseWrite() != nil {
				r.end()
			}
			return
		default:
			if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
				r.reset.Store(true)
				r.resetBy.CompareAndSwap(nil, at)
			}
			r.end()
			return
		}
	}
}

// patiently repeats an operation that times out until nothing has moved in either direction for the idle timeout.
func (r *relay) patiently(d *deadline, do func() error) error {
	for {
		if r.idle > 0 {
			d.want(time.Unix(0, r.moved.Load()).Add(r.idle), r.idle)
		}
		if r.over.Load() {
			return os.ErrDeadlineExceeded
		}
		err := do()
		if !timedOut(err) || r.over.Load() {
			return err
		}
		d.passed()
		if time.Since(time.Unix(0, r.moved.Load())) >= r.idle {
			r.wasIdle.Store(true)
			return err
		}
	}
}

// end makes the other direction end, too.
func (r *relay) end() {
	r.over.Store(true)
	_ = r.a.SetDeadline(past)
	_ = r.b.SetDeadline(past)
}
