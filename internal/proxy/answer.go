// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// replyPatience bounds how long a client may take for an answer of our own after its exchange was cut.
const replyPatience = 5 * time.Second

// errCut is an exchange that ended before its time.
var errCut = errors.New("cut")

// answer reads the upstream's response and passes it on; true: another attempt must.
func (x *exchange) answer(l *leg) (again bool) {
	err := x.readHead(l)
	for first := true; err == nil && l.response.Status < 200 && l.response.Status != 101; first = false {
		x.facts.upstream.interim = true
		x.live() // an interim response ends what a retry policy could do
		x.retry.policy = nil
		if first { // Envoy looks at no other
			x.answered(l.response.Status)
			if x.c.config.Proxy100Continue { // else it is not passed on
				x.interim(&l.response)
			}
		}
		err = x.readHead(l)
	}
	switch {
	case err == nil:
		x.heard.Store(max(int64(x.elapsed()), 1))
		x.facts.heard = time.Duration(x.heard.Load())
		l.pool.host.monitor.Load().Answered(x.cluster.outcome(&l.response, x.grpc))
		l.pool.cluster.asksToLeave(l.pool.host, &l.response.Header)
		if x.afterResponse(&l.response) {
			return x.discard(l)
		}
		if x.follows(&l.response) {
			x.stopSide()
			x.endLeg(x.reusable(l))
			return false
		}
		x.respond(l)
		return false
	case errors.Is(err, errCut):
		return x.cutShort()
	case errors.As(err, new(*http1.Error)) || errors.Is(err, io.ErrUnexpectedEOF):
		x.cluster.stats.cxProtocolError.Add(1)
		return x.failed(l.pool.host, protocolError)
	default:
		return x.failed(l.pool.host, terminated)
	}
}

// interim passes a response of the status 1xx on. That the client has gone is seen with the next write.
func (x *exchange) interim(r *http1.Response) {
	if id, ok := x.c.req.Header.Get("x-request-id"); ok && x.c.config.RequestIDInResponse {
		r.Header.Set("x-request-id", id)
	}
	if !x.uncounted { // it counts as an answer, as the final one does
		x.c.v.http.rqCompleted.Add(1)
		x.c.v.http.classes.add(r.Status)
	}
	x.c.out.framing = http1.None
	x.c.out.buf = http1.AppendResponse(x.c.out.buf[:0], r.Status, &r.Header, http1.None, false)
	_ = x.flush()
}

// discard throws a response away for another attempt. Its leg serves again if nothing of it is still to come.
func (x *exchange) discard(l *leg) (again bool) {
	x.live()
	x.cluster.stats.retried.answered(l.response.Status)
	l.pool.host.rqError.Add(1)
	return x.backOff(x.reusable(l))
}

// reusable says that a leg serves again although only the head of its response was read.
func (x *exchange) reusable(l *leg) bool {
	r := &l.response
	whole := r.Framing == http1.None || r.Framing == http1.Length && r.Length == 0
	return whole && x.sent.Load() && !r.Close && len(l.in.Buffered()) == 0
}

// readHead waits for the next head.
func (x *exchange) readHead(l *leg) error {
	for {
		watching := x.side != nil
		if err := x.beforeRead(l); err != nil {
			return err
		}
		err := x.afterRead(l, l.in.ReadResponse(&l.response, x.c.req.Method, l.maxHead, l.maxFields))
		if !timedOut(err) {
			return err
		}
		if !watching {
			x.startSide(x.watch)
		}
	}
}

// beforeRead lets the next read of the leg take no longer than the exchange's timeouts allow.
func (x *exchange) beforeRead(l *leg) error {
	var look time.Duration
	switch {
	case x.side == nil:
		look = watchAfter
	case x.complete.Load() == 0:
		look = sideLook
	}
	x.patience(&l.read, look)
	if x.cause.Load() != running {
		return errCut
	}
	return nil
}

// afterRead judges its error. A timeout that it returns is only a look around: the read goes on.
func (x *exchange) afterRead(l *leg, err error) error {
	if !timedOut(err) {
		return err
	}
	l.read.passed()
	if x.overdue() {
		return errCut
	}
	return err
}

// respond passes the response on whose head was read.
func (x *exchange) respond(l *leg) {
	c, r := x.c, &l.response
	x.live()
	x.facts.details, x.facts.status = "via_upstream", r.Status
	x.answered(r.Status)
	if r.Status >= 500 {
		l.pool.host.rqError.Add(1)
	} else {
		l.pool.host.rqSuccess.Add(1)
	}
	if at := x.complete.Load(); at > 0 {
		ms := (x.elapsed() - time.Duration(at)).Milliseconds()
		r.Header.Set("x-envoy-upstream-service-time", strconv.FormatInt(ms, 10))
	}
	for _, v := range x.cookies {
		r.Header.Add("set-cookie", v)
	}
	x.countAttempts(&r.Header)
	x.responseOps(&r.Header)
	x.filterResponse(r.Status, &r.Header)
	upgraded := r.Status == 101 && c.req.Upgrade != ""
	framing := x.clean(r, upgraded)
	c.closing = c.closing || framing == http1.UntilClose
	x.head(r.Status, &r.Header, framing)
	if upgraded {
		x.stopSide()
		_ = l.out.piece(x.early, false) // an error shows when the upstream is read
		x.startSide(x.send)
	}
	if r.Framing == http1.None {
		framing = http1.None // the head of what HEAD asks about
	}
	c.out.framing = framing
	l.body.Start(l.in, r.Framing, r.Length)
	whole := x.passBody(l)
	if whole && x.timed() {
		x.facts.heardLast = x.facts.elapsed()
	}
	if whole && upgraded && x.complete.Load() == 0 {
		l.pool.host.monitor.Load().Failed() // Envoy takes it for a reset when the upstream ends first
	}
	x.stopSide()
	// Before the client has the end of its answer, so that its next request finds this leg.
	x.endLeg(whole && x.sent.Load() && !r.Close && len(l.in.Buffered()) == 0)
	if !whole {
		if x.cause.Load() == tryIdleOverdue {
			l.pool.host.monitor.Load().TimedOut()
		}
		x.charge()
		x.brokenOff()
		x.broken = true
		return
	}
	if x.flush() == nil && x.timed() { // else it was noted
		x.facts.toldLast = x.facts.elapsed()
	}
}

// clean takes out of a response what concerns the upstream's connection, and says how its body is framed for the client.
func (x *exchange) clean(r *http1.Response, upgraded bool) http1.Framing {
	h := &r.Header
	if !upgraded {
		h.Del("connection")
		h.Del("upgrade")
	}
	h.Del("keep-alive")
	h.Del("proxy-connection")
	h.Del("transfer-encoding")
	switch {
	case r.Status < 200:
		return http1.UntilClose
	case r.Status == 204:
		h.Del("content-length")
		return http1.None
	case r.Framing == http1.Length || r.Status == 304:
		return r.Framing
	case r.Framing == http1.None && h.Has("content-length"):
		return http1.None
	}
	return http1.Chunked
}

// passBody copies the content; false: the answer is broken off.
func (x *exchange) passBody(l *leg) bool {
	for !l.body.Done() {
		piece, last, err := l.body.Next(false)
		if errors.Is(err, http1.ErrWait) {
			if x.flush() != nil {
				return false
			}
			piece, last, err = x.nextPiece(l)
		}
		if err != nil {
			if errors.As(err, new(*http1.Error)) || errors.Is(err, io.ErrUnexpectedEOF) {
				x.cluster.stats.cxProtocolError.Add(1)
				x.facts.brokenBy = protocolError
			} else {
				x.facts.brokenBy = terminated
			}
			if !errors.Is(err, errCut) {
				l.pool.host.monitor.Load().Failed()
			}
			_ = x.flush() // what came before, as with Envoy
			return false
		}
		x.live()
		if x.tryIdle > 0 {
			x.heard.Store(int64(x.elapsed()))
		}
		x.patience(&x.c.write, 0)
		x.facts.sent += uint64(len(piece))
		if x.c.out.piece(piece, last) != nil {
			x.unwritten()
			return false
		}
	}
	return true
}

func (x *exchange) nextPiece(l *leg) (piece []byte, last bool, err error) {
	for {
		watching := x.side != nil
		if err = x.beforeRead(l); err != nil {
			return nil, false, err
		}
		piece, last, err = l.body.Next(true)
		if err = x.afterRead(l, err); !timedOut(err) {
			return piece, last, err
		}
		if !watching {
			x.startSide(x.watch)
		}
	}
}

// head writes the head of the answer into the buffer and decides whether the connection goes on.
func (x *exchange) head(status int, h *http1.Header, f http1.Framing) {
	c := x.c
	if x.complete.Load() == 0 {
		// The rest of the request would have to be read before the next one could be (Envoy: encodeHeaders).
		c.closing = true
		c.v.http.rqEarly.Add(1)
	}
	if c.retired.Load() || c.v.closes(c.p.o.DrainTime) {
		c.v.http.cxDrainClose.Add(1)
		c.closing = true
	}
	switch c.config.ServerHeader {
	case mesh.PassServerThrough:
	case mesh.AppendServerIfAbsent:
		if !h.Has("server") {
			h.Set("server", c.config.ServerName)
		}
	default:
		h.Set("server", c.config.ServerName)
	}
	if c.config.Via != "" {
		appendVia(h, c.config.Via)
	}
	if c.config.RequestIDInResponse || x.internal && c.req.Header.Has("x-envoy-force-trace") {
		if id, ok := c.req.Header.Get("x-request-id"); ok {
			h.Set("x-request-id", id)
		}
	}
	if !h.Has("date") {
		h.Set("date", httpDate())
	}
	if !x.uncounted {
		c.v.http.rqCompleted.Add(1)
		c.v.http.classes.add(status)
	}
	c.out.buf = http1.AppendResponse(c.out.buf[:0], status, h, f, c.closing && status != 101)
	x.headed = true
	x.facts.status = status
	if x.timed() {
		x.facts.told = x.facts.elapsed()
		x.answerHeader.Fields = append(x.answerHeader.Fields[:0], h.Fields...)
	}
}

// flush writes to the client what was collected.
func (x *exchange) flush() error {
	if x.trial != nil {
		return nil
	}
	x.patience(&x.c.write, 0)
	err := x.c.out.flush()
	if err != nil {
		x.unwritten()
	}
	return err
}

// unwritten notes that the client takes no more, unless it is known why.
func (x *exchange) unwritten() {
	x.broken = true
	if x.cause.CompareAndSwap(running, clientLeft) {
		x.c.v.http.rqGone.Add(1)
	}
}

// breakOff counts a request that was answered and whose rest nobody reads (Envoy: doEndStream).
func (x *exchange) breakOff() {
	if x.headed && !x.broken && x.complete.Load() == 0 {
		x.c.v.http.rqGone.Add(1)
	}
}

// reply answers the request ourselves (Envoy: a local reply). change may add fields, and so may the route, if one was met.
func (x *exchange) reply(status int, body string, change func(*http1.Header)) {
	x.stopSide()
	x.endLeg(false)
	if x.headed {
		x.broken = true // it is too late for another answer
		return
	}
	c := x.c
	var h http1.Header
	h.Response = true
	if change != nil {
		change(&h)
	}
	x.countAttempts(&h)
	if r := x.match.route; r != nil && r.Forward != nil { // other routes say something only of their own answers
		x.responseOps(&h)
	}
	if status == 400 {
		c.closing = true // there has been an error of the protocol (Envoy: conn_manager_impl.cc, sendLocalReply)
	}
	status, body = x.mapped(status, body, &h)
	if x.grpc {
		if c.req.Method == "HEAD" {
			body = ""
		}
		grpcReply(status, body, &h)
		status, body = 200, ""
	}
	switch {
	case body != "":
		h.Set("content-length", strconv.Itoa(len(body)))
		if !h.Has("content-type") {
			h.Set("content-type", "text/plain")
		}
	case status != 204 && status != 304 && c.req.Method != "HEAD":
		h.Set("content-length", "0")
	}
	x.finish(status, &h, body)
}

// answerPlainly answers the request with a head alone, to which the route adds nothing (Envoy: a filter's encodeHeaders).
func (x *exchange) answerPlainly(status int, fill func(*http1.Header)) {
	var h http1.Header
	h.Response = true
	fill(&h)
	h.Set("content-length", "0")
	x.finish(status, &h, "")
}

// finish writes an answer of our own.
func (x *exchange) finish(status int, h *http1.Header, body string) {
	c := x.c
	if x.trial != nil {
		x.trial.answered(c.req.Method, status, h, body)
		return
	}
	x.filterResponse(status, h)
	x.head(status, h, http1.None)
	if c.req.Method != "HEAD" && status != 204 && status != 304 {
		c.out.buf = append(c.out.buf, body...)
	}
	if c.req.Method != "HEAD" {
		x.facts.sent = uint64(len(body)) // also where the status allows none
	}
	c.write.move(time.Now().Add(replyPatience))
	if c.out.flush() != nil {
		x.broken = true
	} else if x.timed() {
		x.facts.toldLast = x.facts.elapsed()
	}
	c.write.move(time.Time{})
}

// answered charges an answer to the cluster.
func (x *exchange) answered(status int) {
	if !x.uncounted {
		x.cluster.stats.answered(status)
	}
}

// countAttempts tells the client how often the request was tried.
func (x *exchange) countAttempts(h *http1.Header) {
	if x.retry.count > 0 && x.match.host.AttemptCountResponse {
		h.Set("x-envoy-attempt-count", strconv.FormatUint(uint64(x.retry.count), 10))
	}
}

// failed answers for an upstream that did not; true: another attempt must.
func (x *exchange) failed(h *host, why failure) (again bool) {
	h.rqError.Add(1)
	if why != overflow { // that is the cluster's fault
		h.monitor.Load().Failed()
	}
	if x.afterFailure(why, x.leg.Load() != nil) {
		return x.backOff(false)
	}
	status, text := 503, "reset reason: "
	if why == protocolError {
		status = 502
	}
	if x.retry.count > 1 {
		text = "retried and the latest reset reason: "
	}
	x.answered(status)
	x.blame(resetDetails(why, &x.facts.upstream), failureFlags[why])
	if why != overflow { // the failure came after what the client had sent by then was read
		x.takeBuffered()
	}
	x.reply(status, "upstream connect error or disconnect/reset before headers. "+text+string(why), func(h *http1.Header) {
		if why == overflow {
			h.Set("x-envoy-overloaded", "true")
		}
	})
	return false
}

// takeBuffered throws away what has come of the body, so that a request of which all has come is complete.
func (x *exchange) takeBuffered() {
	x.stopSide()
	for !x.c.body.Done() {
		_, last, err := x.c.body.Next(false)
		if err != nil {
			return
		}
		if last {
			x.finished()
		}
	}
}

// cutShort ends an attempt that was cut; true: another follows.
func (x *exchange) cutShort() (again bool) {
	if c := x.cause.Load(); c == tryOverdue || c == tryIdleOverdue {
		x.chargeTry()
		x.retry.late = true
		x.leg.Load().pool.host.monitor.Load().TimedOut()
		if x.afterFailure(localReset, true) {
			x.leg.Load().pool.host.rqError.Add(1)
			return x.backOff(false)
		}
	}
	x.timedOut()
	return false
}

// timedOut answers a request that was cut, where there is somebody to answer.
func (x *exchange) timedOut() {
	x.charge()
	switch c := x.cause.Load(); c {
	case clientWrong:
		x.c.closing = true
		x.blame("http1.codec_error")
		x.reply(400, http1.Reason(400), nil)
		x.facts.flags.add(flagProtocolError) // only now: formats of the reply do not see it
	case headOverdue:
		x.blame("request_header_timeout")
		x.reply(408, "request header timeout", nil)
	case requestOverdue:
		x.blame("request_overall_timeout")
		x.reply(408, "request timeout", nil)
	case idleOverdue:
		status := 408
		if x.complete.Load() > 0 {
			status = 504
		}
		x.blame("stream_idle_timeout", flagIdleTimeout)
		x.reply(status, "stream timeout", nil)
	case streamOverdue:
		status := 408
		if x.complete.Load() > 0 {
			status = 504
		}
		x.blame("max_duration_timeout")
		x.reply(status, "downstream duration timeout", nil)
	case answerOverdue, tryOverdue, tryIdleOverdue:
		x.blame(timeoutDetails[c], flagRequestTimeout)
		x.reply(504, "upstream request timeout", nil)
	default:
		x.blame("downstream_remote_disconnect", flagClientEnded)
		x.stopSide()
		x.endLeg(false)
		x.broken = true
	}
}

// charge counts a cut once.
func (x *exchange) charge() {
	stats := x.c.v.http
	switch x.cause.Load() {
	case headOverdue:
		stats.rqHeaderTimeout.Add(1)
	case requestOverdue:
		stats.rqTimeout.Add(1)
	case idleOverdue:
		stats.rqIdleTimeout.Add(1)
	case streamOverdue:
		stats.rqMaxDuration.Add(1)
	case tryIdleOverdue:
		if x.headed {
			x.chargeTry()
			return
		}
		fallthrough
	case answerOverdue, tryOverdue:
		if x.retry.rests {
			return // there is no upstream that it could be charged to
		}
		if x.cause.Load() == answerOverdue {
			x.cluster.stats.rqTimeout.Add(1)
		}
		if !x.headed {
			x.answered(504)
		}
		if l := x.leg.Load(); l != nil {
			l.pool.host.rqTimeout.Add(1)
			if x.cause.Load() == answerOverdue && !x.headed {
				l.pool.host.monitor.Load().TimedOut()
			}
		}
	}
}

// chargeTry counts an attempt that ran into its own timeout.
func (x *exchange) chargeTry() {
	if x.cause.Load() == tryIdleOverdue {
		x.cluster.stats.rqTryIdleTimeout.Add(1)
	} else {
		x.cluster.stats.rqTryTimeout.Add(1)
	}
}

// endLeg gives the leg back, or closes it if it cannot serve again.
func (x *exchange) endLeg(again bool) {
	l := x.leg.Swap(nil)
	if l == nil {
		return
	}
	l.end(again, x.elapsed())
}

type dateText struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dateText]

// httpDate is the time of day as a Date field (RFC 9110 section 5.6.7), formatted once a second.
func httpDate() string {
	now := time.Now()
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lastDate.Store(d)
	}
	return d.text
}
