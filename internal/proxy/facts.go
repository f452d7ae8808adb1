// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// facts are what is known of a request or connection for those who tell of it (Envoy: stream_info_impl.h). They belong to the
// goroutine that serves it.
type facts struct {
	begun          time.Time
	flags          flags
	attempts       uint32 // of TCP
	unread         bool   // the head of the request was not understood, and nothing of it is told
	details        string // response code details; empty: none
	brokenBy       failure
	leads          *string // where a redirect would have led; nil: there was none
	ending         string  // connection termination details; empty: none
	status         int     // of the answer; 0: none was begun
	received, sent uint64  // content
	upstream       upstreamFacts
	// Of what is timed: when it was, after begun; 0: not yet.
	heard, heardLast, told, toldLast time.Duration
}

// upstreamFacts are of the last attempt.
type upstreamFacts struct {
	host          *host // that was chosen; nil: none
	name          string
	local, remote netip.AddrPort // of its connection; invalid: there was none
	id            uint64
	dialed, open  time.Time
	interim       bool   // it has sent an interim response
	failure       string // why there was none; empty: it is not known
}

// blame notes why an answer of our own is given, or why an answer ends early. The last word counts.
func (f *facts) blame(details string, why ...flag) {
	f.details = details
	for _, one := range why {
		f.flags.add(one)
	}
}

// connected notes the connection of an attempt.
func (f *facts) connected(l *leg) {
	f.upstream.local, f.upstream.remote = l.local, l.pool.host.address
	f.upstream.id, f.upstream.dialed, f.upstream.open = l.id, l.dialed, l.opened
}

// blame notes why the exchange is answered here, or ends early.
func (x *exchange) blame(details string, why ...flag) { x.facts.blame(details, why...) }

// elapsed is the time since it began; never 0.
func (f *facts) elapsed() time.Duration { return max(time.Since(f.begun), 1) }

// connectionFacts are what is known of a client's connection.
type connectionFacts struct {
	id       uint64
	chain    string
	arrival  *arrival
	accepted netip.AddrPort // the local address of the socket
}

var connectionIDs, legIDs atomic.Uint64

// scene is what a format tells of. Its optional parts are nil.
type scene struct {
	facts      *facts
	connection *connectionFacts
	remote     netip.AddrPort // the client; port 0 where a header named it

	request                      *http1.Request
	response                     *http1.Header
	exchange                     *exchange // of HTTP
	body                         string    // of a local reply
	streamID                     string
	cluster                      string // that was chosen; empty: none
	logType                      string
	complete, sentAll, sentFirst time.Duration // of the request, after begun; 0: not yet
}

// at returns when a moment was, after the begin; false: it has not come.
func (s *scene) at(p mesh.TimePoint) (time.Duration, bool) {
	f := s.facts
	after := func(t time.Time) (time.Duration, bool) { return t.Sub(f.begun), !t.IsZero() }
	reached := func(d time.Duration) (time.Duration, bool) { return d, d > 0 }
	switch p {
	case mesh.DownstreamFirstReceived:
		return 0, true
	case mesh.DownstreamLastReceived:
		return reached(s.complete)
	case mesh.UpstreamConnectBegin:
		return after(f.upstream.dialed)
	case mesh.UpstreamConnectEnd:
		return after(f.upstream.open)
	case mesh.UpstreamFirstSent:
		return reached(s.sentFirst)
	case mesh.UpstreamLastSent:
		return reached(s.sentAll)
	case mesh.UpstreamFirstReceived:
		return reached(f.heard)
	case mesh.UpstreamLastReceived:
		return reached(f.heardLast)
	case mesh.DownstreamFirstSent:
		return reached(f.told)
	case mesh.DownstreamLastSent:
		return reached(f.toldLast)
	case mesh.Completed:
		return f.elapsed(), true
	}
	return 0, false
}
