// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// httpConn is a downstream HTTP/1.1 connection. Its goroutine reads requests and writes answers, one exchange at a time.
type httpConn struct {
	p      *Proxy
	v      *chain
	config *mesh.HTTPConnectionManager
	conn   *wire
	// peer is who has connected; from and to are the connection's ends, as listener filters say.
	peer     netip.Addr
	from, to netip.AddrPort
	facts    connectionFacts

	in    *http1.Reader
	read  deadline
	req   http1.Request
	body  http1.Body
	out   outlet
	write deadline
	x     exchange
	// legExpired is x's method, bound once.
	legExpired func() bool

	buckets *buckets // of rate limits per connection; nil: none was asked for
	used    bool     // a request has been seen
	closing bool     // the next answer is the last (Envoy: DrainState::Closing)

	// Set from outside, see connection.
	busy, retired atomic.Bool
}

var (
	errIdle    = errors.New("idle for too long")
	errRetired = errors.New("the listener drains")
)

func (p *Proxy) serveHTTP(v *chain, conn *net.TCPConn, a *arrival) {
	c := &httpConn{p: p, v: v, config: v.config.HTTP, conn: newWire(conn), peer: a.direct.Addr(), from: a.remote, to: a.local,
		facts: connectionFacts{connectionIDs.Add(1), v.config.Name, a, addressOf(conn.LocalAddr())}}
	c.in = http1.NewReader(c)
	c.read.set, c.write.set = conn.SetReadDeadline, conn.SetWriteDeadline
	c.out.init(c.conn, func(n int64) { v.http.cxTx.Add(uint64(n)) })
	c.x.c = c
	c.out.expired, c.legExpired = c.x.writeExpired, c.x.legExpired
	v.add(c)
	v.http.cxTotal.Add(1)
	v.http.cxActive.Add(1)
	begun := time.Now()
	defer func() {
		v.remove(c)
		v.http.cxActive.Add(-1)
		v.http.cxDestroy.Add(1)
		v.http.cxLength.add(time.Since(begun))
	}()
	if p.ended.Load() {
		return
	}
	if len(v.judges) > 0 && !c.passes(a) {
		return
	}
	for c.one() {
	}
	c.in.Idle()
}

// Read implements io.Reader and counts.
func (c *httpConn) Read(b []byte) (int, error) {
	n, err := c.conn.Read(b)
	c.v.http.cxRx.Add(uint64(n))
	return n, err
}

// retire implements connection.
func (c *httpConn) retire() {
	c.retired.Store(true)
	if !c.busy.Load() {
		_ = c.conn.SetReadDeadline(past)
	}
}

// cut implements connection.
func (c *httpConn) cut() {
	c.x.cut(cutOff)
	c.conn.Close()
}

// one serves one request; false: the connection has ended.
func (c *httpConn) one() bool {
	if err := c.await(); err != nil {
		return false
	}
	c.x.reset()
	stats := c.v.http
	err := c.head()
	c.x.facts.unread = err != nil
	switch {
	case err == nil:
	case errors.As(err, new(*http1.Error)):
		var e *http1.Error
		errors.As(err, &e)
		stats.rqTotal.Add(1)
		stats.cxProtocolError.Add(1)
		c.closing = true
		c.x.blame(cmp.Or(e.Details, "http1.codec_error"))
		c.req = http1.Request{} // nothing of it counts, nor of the one before
		c.x.reply(e.Status, http1.Reason(e.Status), nil)
		c.x.breakOff()
		c.x.facts.flags.add(flagProtocolError) // only now: formats of the reply do not see it
		c.x.log()
		c.linger()
		return false
	case errors.Is(err, errHead):
		stats.rqTotal.Add(1)
		c.closing = true
		c.req = http1.Request{}
		c.x.timedOut()
		c.x.breakOff()
		c.x.log()
		c.linger()
		return false
	default: // the client has gone in the middle of the head
		stats.rqTotal.Add(1)
		stats.rqGone.Add(1)
		c.x.blame("downstream_remote_disconnect", flagClientEnded)
		c.x.log()
		return false
	}
	stats.rqTotal.Add(1)
	stats.rqActive.Add(1)
	c.x.serve()
	c.x.endFilters()
	c.x.breakOff()
	c.x.log()
	stats.rqActive.Add(-1)
	stats.rqTime.add(c.x.elapsed())
	if c.x.broken {
		return false
	}
	if c.closing {
		c.linger()
		return false
	}
	c.in.Idle()
	c.out.idle()
	return true
}

// await waits for the first byte of the next request.
func (c *httpConn) await() error {
	if len(c.in.Buffered()) > 0 {
		return nil
	}
	c.busy.Store(false)
	defer c.busy.Store(true)
	due := time.Time{}
	wait := c.config.IdleTimeout
	if wait > 0 {
		due = time.Now().Add(wait)
	}
	for {
		if c.retired.Load() {
			return errRetired
		}
		c.read.want(due, wait)
		err := c.in.Fill(0)
		if !timedOut(err) {
			return err
		}
		c.read.passed() // it has passed, or retire moved it
		switch now := time.Now(); {
		case due.IsZero() || now.Before(due):
		case c.used && !c.closing && c.config.DrainTimeout > 0:
			// Envoy drains an idle connection as it drains a listener: a request that comes meanwhile is answered.
			c.v.http.cxIdleTimeout.Add(1)
			c.closing = true
			wait = c.config.DrainTimeout
			due = now.Add(wait)
		default:
			if !c.closing {
				c.v.http.cxIdleTimeout.Add(1)
			}
			return errIdle
		}
	}
}

// errHead is a head that did not come in time; the exchange knows why.
var errHead = errors.New("the head of the request did not come in time")

// head reads the head that has begun.
func (c *httpConn) head() error {
	c.used = true
	limit, fields := int(c.config.MaxRequestHeadersKiB)<<10, int(c.config.MaxHeadersCount)
	err := c.in.ReadRequest(&c.req, limit, fields, false)
	for errors.Is(err, http1.ErrWait) || timedOut(err) {
		due, cause := c.x.due()
		wait := time.Until(due)
		if cause != running && wait <= 0 {
			c.x.cut(cause)
			return errHead
		}
		if cause == running {
			due = time.Time{}
		}
		c.read.want(due, wait)
		err = c.in.ReadRequest(&c.req, limit, fields, true)
	}
	return err
}

// linger ends a connection whose last answer was written: the client gets the end after the answer and not a reset for what
// it is still sending (Envoy: delayed_close_timeout).
func (c *httpConn) linger() {
	if c.config.DelayedCloseTimeout == 0 || c.conn.CloseWrite() != nil {
		return
	}
	c.read.move(time.Now().Add(c.config.DelayedCloseTimeout))
	_, _ = io.Copy(io.Discard, readerOnly{c.conn}) // whatever ends it, the connection is closed next
}

// readerOnly hides the methods by which io.Copy would splice.
type readerOnly struct{ io.Reader }
