// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// exchange is one request and its answer. The connection's goroutine routes, waits for the upstream and writes the answer;
// when the request's body does not come with its head, or the upstream takes its time, a second goroutine (side) reads the
// client: it passes the body on and notices when the client leaves.
type exchange struct {
	c     *httpConn
	begun time.Time

	requestTimeout, headTimeout time.Duration // from begun; 0: none
	idle                        time.Duration // between two signs of life of either side; 0: none
	timeout                     time.Duration // from the end of the request to the end of the answer; 0: none
	duration                    time.Duration // of the whole exchange, from begun; 0: not bounded

	activity atomic.Int64 // nanoseconds after begun
	complete atomic.Int64 // when the request was read to its end, nanoseconds after begun; 0: not yet
	cause    atomic.Int32 // why it was cut
	leg      atomic.Pointer[leg]
	gone     atomic.Pointer[chan struct{}] // closed by cut, while somebody waits for a leg

	stopping atomic.Bool
	side     chan struct{} // closed when the second goroutine has ended; nil: there is none
	early    []byte        // content read before there was a leg
	sent     atomic.Bool   // the whole request went upstream
	headed   bool          // the answer's head was written
	broken   bool          // the connection cannot go on

	grpc    bool // the request is gRPC's
	draw    draw
	cookies []string // that the upstream's answer sets
	// remote is the client as far as it is known, internal whether its x-envoy-* fields count.
	remote   netip.Addr
	internal bool

	match   match
	cluster *cluster
	share   *mesh.WeightedCluster
	// named is the cluster as the route had it before the filters.
	named    string
	steps    []step // of the listener's filters
	filtered bool   // they have begun
	// What is told of it afterwards.
	facts        facts
	described    scene
	answerHeader http1.Header // a copy, where there are logs
	forwarded    bool         // the client's address was named by a field
	sentAt       atomic.Int64 // when the whole request had gone upstream, nanoseconds after begun; 0: not yet; of what is timed
	// uncounted: it asks about health, and statistics of answers leave it out.
	uncounted bool

	trial *trial // the request is only asked about; nil: it is real

	mirrors []*mirror // that still get the request's content

	following following
	metadata  mesh.Metadata // that filters have left; nil: none has

	retry               retrying
	tryTimeout, tryIdle time.Duration // of one attempt; 0: none
	// Of the attempt that runs, nanoseconds after begun; 0: not yet. heard is the last sign of its upstream.
	began, heard atomic.Int64
}

// cause is why an exchange ended before its time.
type cause = int32

const (
	running cause = iota
	clientLeft
	clientWrong    // its body is not well-formed
	headOverdue    // request_headers_timeout
	requestOverdue // request_timeout
	idleOverdue    // stream_idle_timeout
	answerOverdue  // the route's timeout
	streamOverdue  // max_stream_duration
	tryOverdue     // per_try_timeout
	tryIdleOverdue // per_try_idle_timeout
	cutOff         // from outside
)

// watchAfter is how long an upstream may take before the client is watched: starting to is dear, and most answers are there.
const watchAfter = 10 * time.Millisecond

// sideLook is how often the timeouts are looked at while the second goroutine may change what they depend on.
const sideLook = 250 * time.Millisecond

// reset makes x ready for the request whose first byte is there.
func (x *exchange) reset() {
	config := x.c.config
	x.begun = time.Now()
	x.retry.count, x.retry.policy = 0, nil
	x.filtered, x.uncounted = false, false
	x.metadata = nil
	x.following = following{seen: x.following.seen[:0]}
	x.requestTimeout, x.headTimeout, x.idle = config.RequestTimeout, config.RequestHeadersTimeout, config.StreamIdleTimeout
	x.timeout, x.duration = 0, config.MaxStreamDuration
	x.activity.Store(0)
	x.complete.Store(0)
	x.cause.Store(running)
	x.leg.Store(nil)
	x.gone.Store(nil)
	x.sent.Store(false)
	x.facts, x.forwarded = facts{begun: x.begun}, false
	x.sentAt.Store(0)
	x.began.Store(0)
	x.heard.Store(0)
	x.side, x.early, x.headed, x.broken = nil, x.early[:0], false, false
	x.remote, x.internal = x.c.from.Addr(), false
	x.cookies = x.cookies[:0]
	x.grpc, x.draw, x.match, x.cluster, x.share = false, 0, match{}, nil, nil
	x.c.req.Method = ""
	if cap(x.early) > keepBuffer {
		x.early = nil
	}
}

func (x *exchange) elapsed() time.Duration { return time.Since(x.begun) }

// live notes a sign of life.
func (x *exchange) live() { x.activity.Store(int64(x.elapsed())) }

// finished notes the end of the request. It comes before the last byte goes upstream, so that the answer finds it noted.
func (x *exchange) finished() { x.complete.Store(max(int64(x.elapsed()), 1)) }

// due returns when the next timeout is, and which one it will be; running: none.
func (x *exchange) due() (time.Time, cause) {
	var at time.Duration
	which := running
	consider := func(d time.Duration, c cause) {
		if which == running || d < at {
			at, which = d, c
		}
	}
	complete := time.Duration(x.complete.Load())
	if x.idle > 0 {
		consider(time.Duration(x.activity.Load())+x.idle, idleOverdue)
	}
	if complete == 0 && x.requestTimeout > 0 {
		consider(x.requestTimeout, requestOverdue)
	}
	if x.duration > 0 {
		consider(x.duration, streamOverdue)
	}
	if x.headTimeout > 0 {
		consider(x.headTimeout, headOverdue)
	}
	if complete > 0 && x.timeout > 0 {
		consider(complete+x.timeout, answerOverdue)
	}
	if began := time.Duration(x.began.Load()); began > 0 && complete > 0 && (x.tryTimeout > 0 || x.tryIdle > 0) {
		heard := time.Duration(x.heard.Load())
		if x.tryTimeout > 0 && heard == 0 {
			consider(max(began, complete)+x.tryTimeout, tryOverdue)
		}
		if x.tryIdle > 0 {
			consider(max(began, complete, heard)+x.tryIdle, tryIdleOverdue)
		}
	}
	return x.begun.Add(at), which
}

// cut ends the exchange from any goroutine; the first cause counts.
func (x *exchange) cut(c cause) {
	if !x.cause.CompareAndSwap(running, c) {
		return
	}
	if l := x.leg.Load(); l != nil {
		_ = l.conn.SetDeadline(past)
	}
	if g := x.gone.Load(); g != nil {
		close(*g)
	}
	if c != clientWrong && c != tryOverdue && c != tryIdleOverdue {
		_ = x.c.conn.SetWriteDeadline(past)
	}
}

// overdue cuts the exchange if one of its timeouts has passed, and says whether it is cut.
func (x *exchange) overdue() bool {
	if due, c := x.due(); c != running && !time.Now().Before(due) {
		x.cut(c)
	}
	return x.cause.Load() != running
}

// patience moves a deadline to the next timeout.
func (x *exchange) patience(d *deadline, atMost time.Duration) {
	due, c := x.due()
	wait := time.Until(due)
	if atMost > 0 && (c == running || wait > atMost) {
		due, wait = time.Now().Add(atMost), 0
	} else if c == running {
		due = time.Time{}
	}
	d.want(due, wait)
}

// writeExpired is asked when the client has not taken bytes in time.
func (x *exchange) writeExpired() bool {
	if x.overdue() {
		return true
	}
	x.c.write.passed()
	x.patience(&x.c.write, 0)
	return false
}

// legExpired is asked when the upstream has not taken bytes in time.
func (x *exchange) legExpired() bool {
	if x.ending() || x.overdue() {
		return true
	}
	l := x.leg.Load()
	l.write.passed()
	x.patience(&l.write, 0)
	return x.ending() // cut and stopSide move deadlines, too
}

func (x *exchange) ending() bool { return x.stopping.Load() || x.cause.Load() != running }

// startSide runs f beside the connection's goroutine.
func (x *exchange) startSide(f func()) {
	x.stopping.Store(false)
	side := make(chan struct{})
	x.side = side
	go func() {
		defer close(side)
		f()
	}()
}

// stopSide ends the second goroutine, if there is one; afterwards this one may read the client.
func (x *exchange) stopSide() {
	if x.side == nil {
		return
	}
	x.stopping.Store(true)
	_ = x.c.conn.SetReadDeadline(past)
	if l := x.leg.Load(); l != nil {
		_ = l.conn.SetWriteDeadline(past)
	}
	<-x.side
	x.side = nil
	x.c.read.move(time.Time{})
	if l := x.leg.Load(); l != nil {
		l.write.move(time.Time{})
	}
}

// watch waits for the client to leave. A client that sends its next request is not watched any more.
func (x *exchange) watch() {
	c := x.c
	for len(c.in.Buffered()) == 0 && !x.stopping.Load() {
		err := c.in.Fill(0)
		switch {
		case err == nil:
			return
		case timedOut(err):
			_ = c.conn.SetReadDeadline(time.Time{}) // an old one, or stopSide's: then stopping is set by now
		default:
			x.c.v.http.rqGone.Add(1)
			x.cut(clientLeft)
			return
		}
	}
}

// next is the body's next piece; the second goroutine waits for it. ok is false when there is none and will be none.
func (x *exchange) next() (piece []byte, last, ok bool) {
	c := x.c
	for !x.ending() {
		piece, last, err := c.body.Next(true)
		switch {
		case err == nil:
			x.live()
			if last {
				x.finished()
			}
			return piece, last, true
		case timedOut(err):
			_ = c.conn.SetReadDeadline(time.Time{}) // an old one, or stopSide's: then stopping is set by now
			continue
		case errors.As(err, new(*http1.Error)):
			c.v.http.cxProtocolError.Add(1)
			x.cut(clientWrong)
		default:
			c.v.http.rqGone.Add(1)
			x.cut(clientLeft)
		}
		return nil, false, false
	}
	return nil, false, false
}

// gather reads the body into memory while there is no leg yet, and then watches the client.
func (x *exchange) gather() {
	enough := 64 << 10
	if x.keeps() {
		enough = int(x.match.route.Forward.BufferLimit)
	}
	for !x.c.body.Done() && len(x.early) < enough {
		piece, last, ok := x.next()
		if !ok {
			return
		}
		x.early = append(x.early, piece...)
		x.reflect(piece, last)
		if last {
			break
		}
	}
	if x.c.body.Done() {
		x.watch()
	}
}

// send passes the rest of the body on, and then watches the client. It gives up when the upstream takes no more: what that one
// has to say is read by the connection's goroutine.
func (x *exchange) send() {
	if x.sendBody(true) {
		x.watch()
	}
}

// sendBody passes content on: all of it, or with wait false what is buffered. True when the whole request was written.
func (x *exchange) sendBody(wait bool) bool {
	l := x.leg.Load()
	for !x.c.body.Done() {
		piece, last, err := x.c.body.Next(false)
		switch {
		case errors.Is(err, http1.ErrWait):
			if l.out.flush() != nil || !wait {
				return false
			}
			var ok bool
			if piece, last, ok = x.next(); !ok {
				return false
			}
		case err != nil:
			_ = l.out.flush() // the upstream sees what came before, as with Envoy
			x.c.v.http.cxProtocolError.Add(1)
			x.cut(clientWrong)
			return false
		case last:
			x.finished()
		}
		x.keep(piece)
		x.reflect(piece, last)
		if l.out.piece(piece, last) != nil {
			return false
		}
	}
	if l.out.flush() != nil {
		return false
	}
	x.sent.Store(true)
	if x.timed() {
		x.sentAt.Store(int64(x.facts.elapsed()))
	}
	return true
}
