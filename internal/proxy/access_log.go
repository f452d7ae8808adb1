// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
	"github.com/leno-mesh/leno/internal/proxy/logfile"
	"github.com/leno-mesh/leno/internal/telemetry"
)

// accessLog is one log of a filter chain.
type accessLog struct {
	config *mesh.AccessLog
	file   *logfile.File
}

func (p *Proxy) accessLogs(all []mesh.AccessLog) []accessLog {
	var logs []accessLog
	for i := range all {
		logs = append(logs, accessLog{&all[i], p.logs.File(all[i].Path)})
	}
	return logs
}

// ReopenLogs makes every access log be opened again by its path.
func (p *Proxy) ReopenLogs() { p.logs.Reopen() }

// lineBuffers are for lines that are made.
var lineBuffers = sync.Pool{New: func() any { return new([]byte) }}

// log writes the lines that the chain's logs want of it.
func (s *scene) log(logs []accessLog) {
	buf := lineBuffers.Get().(*[]byte)
	defer lineBuffers.Put(buf)
	for i := range logs {
		l := &logs[i]
		if l.config.Filter != nil && !s.passes(l.config.Filter) {
			continue
		}
		*buf = s.appendLine((*buf)[:0], &l.config.Line)
		l.file.Append(*buf)
	}
	if cap(*buf) > keepBuffer {
		*buf = nil
	}
}

func (s *scene) appendLine(b []byte, l *mesh.LogLine) []byte {
	nothing := "-"
	if l.OmitEmpty {
		nothing = ""
	}
	if l.JSON == nil {
		return s.appendFormat(b, l.Text, nothing)
	}
	b, _ = s.appendJSON(b, l.JSON, l.OmitEmpty)
	return append(b, '\n')
}

// appendJSON writes a value; false: it is null, or an object that omit has left empty
// (Envoy: substitution_formatter.cc, JsonFormatterImpl).
func (s *scene) appendJSON(b []byte, v *mesh.JSONValue, omit bool) ([]byte, bool) {
	switch {
	case v.Raw != "":
		return append(b, v.Raw...), v.Raw != "null"
	case v.Format != nil:
		return s.appendFormatted(b, v.Format, omit)
	case v.IsObject:
		return s.appendObject(b, v.Object, omit)
	}
	b = append(b, '[')
	begin := len(b)
	for i := range v.List {
		before := len(b)
		if before > begin {
			b = append(b, ',')
		}
		var ok bool
		if b, ok = s.appendJSON(b, &v.List[i], omit); omit && !ok {
			b = b[:before]
		}
	}
	return append(b, ']'), true
}

func (s *scene) appendObject(b []byte, members []mesh.JSONMember, omit bool) ([]byte, bool) {
	b = append(b, '{')
	begin := len(b)
	for i := range members {
		before := len(b)
		if before > begin {
			b = append(b, ',')
		}
		b = append(b, members[i].Name...)
		b = append(b, ':')
		var ok bool
		if b, ok = s.appendJSON(b, &members[i].Value, omit); omit && !ok {
			b = b[:before]
		}
	}
	return append(b, '}'), len(b) > begin
}

// appendFormatted writes what a format gives: a number, null or a string.
func (s *scene) appendFormatted(b []byte, f mesh.Format, omit bool) ([]byte, bool) {
	if len(f) > 1 {
		nothing := "-"
		if omit {
			nothing = ""
		}
		return mesh.AppendQuoted(b, s.appendFormat(nil, f, nothing)), true
	}
	if n, ok := s.number(&f[0]); ok {
		return strconv.AppendInt(b, n, 10), true
	}
	v, ok := s.appendCommand(nil, &f[0])
	switch {
	case !ok:
		return append(b, "null"...), false
	case f[0].Command == mesh.CommandGRPCStatus && f[0].Style == "NUMBER":
		return append(b, v...), true
	}
	return mesh.AppendQuoted(b, v), true
}

// passes asks a log's condition (Envoy: access_log_impl.cc).
func (s *scene) passes(f *mesh.LogFilter) bool {
	switch {
	case f.And != nil:
		for i := range f.And {
			if !s.passes(&f.And[i]) {
				return false
			}
		}
		return true
	case f.Or != nil:
		for i := range f.Or {
			if s.passes(&f.Or[i]) {
				return true
			}
		}
		return false
	case f.Status != nil:
		return f.Status.Holds(uint64(s.facts.status))
	case f.Duration != nil:
		return f.Duration.Holds(uint64(s.facts.elapsed() / time.Millisecond))
	case f.NotHealthCheck:
		return s.exchange == nil || !s.exchange.uncounted
	case f.Sample != nil:
		return s.sampled(f.Sample)
	case f.Header != nil:
		if s.request == nil {
			return headerMatches(f.Header, &noRequest)
		}
		return headerMatches(f.Header, s.request)
	case f.GRPC != nil:
		code, ok := s.grpcOutcome()
		if !ok {
			code = 2 // unknown
		}
		return slices.Contains(f.GRPC.Codes, code) != f.GRPC.Exclude
	case f.AnyFlag:
		return s.facts.flags.n > 0
	}
	return s.facts.flags.any(f.Flags)
}

// sampled takes a share of the requests, the same at every hop: it looks at the first digits of the request's id.
func (s *scene) sampled(c *mesh.LogSample) bool {
	n := rand.Uint64()
	if id := s.streamID; !c.Independent && len(id) == 36 {
		if v, err := strconv.ParseUint(id[:8], 16, 64); err == nil {
			n = v
		}
	}
	return n%uint64(c.Denominator) < uint64(c.Numerator)
}

// noRequest stands for one that was not understood.
var noRequest http1.Request

// scene is what is known of the exchange now. response is nil before there is one.
func (x *exchange) scene(response *http1.Header) *scene {
	s := &x.described
	*s = scene{facts: &x.facts, connection: &x.c.facts, remote: x.remoteAddress(), request: &x.c.req, response: response, exchange: x,
		logType: "DownstreamEnd", complete: time.Duration(x.complete.Load()), sentFirst: time.Duration(x.began.Load()),
		sentAll: time.Duration(x.sentAt.Load())}
	if x.facts.unread {
		s.request = &noRequest
	}
	s.streamID = s.request.Header.Value("x-request-id")
	if x.facts.leads != nil {
		s.cluster = *x.facts.leads
	} else if x.match.route != nil && x.match.route.Forward != nil {
		if x.c.p.state.Load().clusters[mesh.ClusterID{Scope: x.c.v.scope, Name: x.named}] != nil {
			s.cluster = x.named
		}
	}
	return s
}

// timed says that somebody will ask when things were.
func (x *exchange) timed() bool { return len(x.c.v.logs) > 0 || x.c.config.LocalReply != nil }

// remoteAddress is the client as far as it is known.
func (x *exchange) remoteAddress() netip.AddrPort {
	if x.forwarded {
		return netip.AddrPortFrom(x.remote, 0)
	}
	return x.c.from
}

// log tells of the exchange, which is over.
func (x *exchange) log() {
	if x.facts.status == 0 {
		x.logUnanswered()
		return
	}
	x.logWith(&x.answerHeader)
}

// logUnanswered tells of it where its client got no answer, or another one.
func (x *exchange) logUnanswered() { x.logWith(nil) }

func (x *exchange) logWith(response *http1.Header) {
	logs := x.c.v.logs
	if len(logs) == 0 {
		return
	}
	if !x.facts.unread {
		x.facts.received = x.c.body.Read()
	}
	s := x.scene(response)
	if s.complete == 0 && !x.facts.unread && x.c.body.Done() {
		s.complete = x.facts.elapsed()
	}
	s.log(logs)
}

// collectLogs emits what happened to lines (Envoy: file_system_stats). It is silent while there is no log.
func (p *Proxy) collectLogs(emit func(telemetry.Sample)) {
	if p.logs.Empty() {
		return
	}
	one := func(name string, kind telemetry.Kind, v uint64) {
		emit(telemetry.Sample{Name: "filesystem." + name, Base: "filesystem." + name, Kind: kind, Value: v})
	}
	s := &p.logs.Stats
	one("write_buffered", telemetry.Counter, s.WriteBuffered.Load())
	one("write_completed", telemetry.Counter, s.WriteCompleted.Load())
	one("write_failed", telemetry.Counter, s.WriteFailed.Load())
	one("flushed_by_timer", telemetry.Counter, s.FlushedByTimer.Load())
	one("reopen_failed", telemetry.Counter, s.ReopenFailed.Load())
	one("write_total_buffered", telemetry.Gauge, uint64(max(s.WriteTotalBuffered.Load(), 0)))
	one("leno_dropped", telemetry.Counter, s.Dropped.Load())
}
