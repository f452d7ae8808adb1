// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// expand is a format's text for this exchange; what a command does not find is empty, as in header operations
// (Envoy: http_specific_formatter.cc, stream_info_formatter.cc). response is nil before there is one.
func (x *exchange) expand(f mesh.Format, response *http1.Header) string {
	s := x.scene(response)
	if len(f) == 1 && f[0].Command == "" {
		return f[0].Text
	}
	return string(s.appendFormat(nil, f, ""))
}

// appendFormat writes a format's text; nothing stands for a command without a value.
func (s *scene) appendFormat(b []byte, f mesh.Format, nothing string) []byte {
	for i := range f {
		if f[i].Command == "" {
			b = append(b, f[i].Text...)
			continue
		}
		at := len(b)
		if more, ok := s.appendCommand(b, &f[i]); ok {
			b = more
		} else {
			b = append(b[:at], nothing...)
		}
	}
	return b
}

// appendCommand writes a command's value; false: it has none.
func (s *scene) appendCommand(b []byte, p *mesh.FormatPart) ([]byte, bool) {
	text := func(v string) ([]byte, bool) {
		if p.Limit && uint64(len(v)) > p.MaxLength {
			v = v[:p.MaxLength]
		}
		return append(b, v...), true
	}
	some := func(v string) ([]byte, bool) { return append(b, v...), v != "" }
	f := s.facts
	switch p.Command {
	case mesh.CommandRequestHeader, mesh.CommandRequestWithoutQuery:
		v, ok := s.requestField(p)
		if !ok {
			return b, false
		}
		if p.Command == mesh.CommandRequestWithoutQuery {
			v = v[:pathLength(v)]
		}
		return text(v)
	case mesh.CommandResponseHeader:
		if s.response == nil {
			return b, false
		}
		v, ok := s.response.Get(p.Header)
		if !ok && p.Alternative != "" {
			v, ok = s.response.Get(p.Alternative)
		}
		if !ok {
			return b, false
		}
		return text(v)
	case mesh.CommandProtocol:
		if s.request == nil {
			return b, false
		}
		return append(b, "HTTP/1.1"...), true // the only one that clients are offered
	case mesh.CommandRouteName:
		if s.exchange == nil || s.exchange.match.route == nil {
			return b, false
		}
		return some(s.exchange.match.route.Name)
	case mesh.CommandStreamID:
		return some(s.streamID)
	case mesh.CommandUniqueID:
		return append(b, newRequestID()...), true
	case mesh.CommandConnectionID, mesh.CommandUpstreamConnectionID, mesh.CommandResponseCode, mesh.CommandBytesReceived, mesh.CommandBytesSent,
		mesh.CommandAttemptCount, mesh.CommandDuration, mesh.CommandGRPCStatusNumber:
		n, ok := s.number(p)
		return strconv.AppendInt(b, n, 10), ok
	case mesh.CommandFilterChainName:
		return some(s.connection.chain)
	case mesh.CommandRequestedServerName:
		return some(s.connection.arrival.serverName)
	case mesh.CommandHostname:
		return some(hostname())
	case mesh.CommandAccessLogType:
		return append(b, s.logType...), true
	case mesh.CommandLocalReplyBody:
		return append(b, s.body...), true
	case mesh.CommandResponseCodeDetails:
		v := f.details
		if !p.Spaces {
			v = spacesToUnderscores(v)
		}
		return some(v)
	case mesh.CommandTerminationDetails:
		return some(f.ending)
	case mesh.CommandResponseFlags, mesh.CommandResponseFlagsLong:
		b, ok := f.flags.append(b, p.Command == mesh.CommandResponseFlagsLong)
		if !ok {
			b = append(b, '-') // also where commands without a value leave nothing
		}
		return b, true
	case mesh.CommandGRPCStatus:
		return s.appendGRPCStatus(b, p)
	case mesh.CommandStartTime, mesh.CommandStartTimeLocal, mesh.CommandEmitTime, mesh.CommandEmitTimeLocal:
		return s.appendTime(b, p), true
	case mesh.CommandUpstreamHostName:
		if f.upstream.host == nil {
			return b, false
		}
		name := f.upstream.name
		if name == "" {
			name = f.upstream.host.address.String()
		}
		if p.Address == mesh.AddressWithoutPort {
			name, _, _ = cutPort(name)
		}
		return some(name)
	case mesh.CommandUpstreamCluster:
		return some(s.cluster)
	case mesh.CommandUpstreamProtocol:
		if s.exchange == nil || !f.upstream.remote.IsValid() {
			return b, false
		}
		return append(b, "HTTP/1.1"...), true
	case mesh.CommandUpstreamFailure:
		return some(spacesToUnderscores(f.upstream.failure))
	}
	if a, ok := s.address(p.Command); ok {
		return appendAddress(b, a, p.Address), true
	}
	return b, false
}

func (s *scene) requestField(p *mesh.FormatPart) (string, bool) {
	if s.request == nil || s.request.Method == "" {
		return "", false
	}
	v, ok := field(s.request, p.Header)
	if !ok && p.Alternative != "" {
		v, ok = field(s.request, p.Alternative)
	}
	return v, ok && (v != "" || s.request.Path != "" || p.Header != ":path") // CONNECT has no path
}

// number is the value of a command that is one; false: it has none.
func (s *scene) number(p *mesh.FormatPart) (int64, bool) {
	f := s.facts
	switch p.Command {
	case mesh.CommandConnectionID:
		return int64(s.connection.id), true
	case mesh.CommandUpstreamConnectionID:
		return int64(f.upstream.id), true
	case mesh.CommandResponseCode:
		return int64(f.status), true
	case mesh.CommandBytesReceived:
		return int64(f.received), true
	case mesh.CommandBytesSent:
		return int64(f.sent), true
	case mesh.CommandAttemptCount:
		if s.exchange == nil {
			return int64(f.attempts), true
		}
		return int64(s.exchange.retry.count), true
	case mesh.CommandDuration:
		from, ok1 := s.at(p.From)
		to, ok2 := s.at(p.To)
		return int64((to - from) / p.Unit), ok1 && ok2 && to >= from
	case mesh.CommandGRPCStatusNumber:
		return s.grpcStatus()
	}
	switch p.Address {
	case mesh.PortOnly:
		a, ok := s.address(p.Command)
		return int64(a.Port()), ok
	}
	return 0, false
}

// grpcStatus is the status that a gRPC call ended with.
func (s *scene) grpcStatus() (int64, bool) {
	if s.exchange == nil || !s.exchange.grpc {
		return 0, false
	}
	return s.grpcOutcome()
}

// grpcOutcome is what an answer says to a gRPC client, whoever asked; false: there is none.
func (s *scene) grpcOutcome() (int64, bool) {
	if s.response == nil {
		return 0, false
	}
	v, ok := s.response.Get("grpc-status")
	if !ok { // no trailers are passed on; what the status of HTTP says is left
		return int64(grpcStatus(s.facts.status)), true
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return -1, true
	}
	return int64(n), true
}

// grpcNames are the codes' names as GRPC_STATUS spells them.
var grpcNames = [...]struct{ camel, snake string }{{"OK", "OK"}, {"Canceled", "CANCELLED"}, {"Unknown", "UNKNOWN"},
	{"InvalidArgument", "INVALID_ARGUMENT"}, {"DeadlineExceeded", "DEADLINE_EXCEEDED"}, {"NotFound", "NOT_FOUND"},
	{"AlreadyExists", "ALREADY_EXISTS"}, {"PermissionDenied", "PERMISSION_DENIED"}, {"ResourceExhausted", "RESOURCE_EXHAUSTED"},
	{"FailedPrecondition", "FAILED_PRECONDITION"}, {"Aborted", "ABORTED"}, {"OutOfRange", "OUT_OF_RANGE"},
	{"Unimplemented", "UNIMPLEMENTED"}, {"Internal", "INTERNAL"}, {"Unavailable", "UNAVAILABLE"}, {"DataLoss", "DATA_LOSS"},
	{"Unauthenticated", "UNAUTHENTICATED"}}

func (s *scene) appendGRPCStatus(b []byte, p *mesh.FormatPart) ([]byte, bool) {
	n, ok := s.grpcStatus()
	switch {
	case !ok:
		return b, false
	case p.Style == "NUMBER" || n < 0 || n >= int64(len(grpcNames)):
		return strconv.AppendInt(b, n, 10), true
	case p.Style == "SNAKE_STRING":
		return append(b, grpcNames[n].snake...), true
	}
	return append(b, grpcNames[n].camel...), true
}

func (s *scene) appendTime(b []byte, p *mesh.FormatPart) []byte {
	t, layout := s.facts.begun, p.Layout
	if p.Command == mesh.CommandEmitTime || p.Command == mesh.CommandEmitTimeLocal {
		t = time.Now()
	}
	local := p.Command == mesh.CommandStartTimeLocal || p.Command == mesh.CommandEmitTimeLocal
	switch {
	case local && layout == "":
		layout = "%Y-%m-%dT%H:%M:%E3S%z"
	case layout == "":
		layout = "%Y-%m-%dT%H:%M:%E3SZ"
	}
	if !local {
		t = t.UTC()
	}
	return mesh.AppendTime(b, t, layout)
}

// address is the one that a command names; false: there is none.
func (s *scene) address(c mesh.Command) (a netip.AddrPort, ok bool) {
	switch up := &s.facts.upstream; c {
	case mesh.CommandRemoteAddress:
		a = s.remote
	case mesh.CommandDirectRemoteAddress:
		a = s.connection.arrival.direct
	case mesh.CommandLocalAddress:
		a = s.connection.arrival.local
	case mesh.CommandDirectLocalAddress:
		a = s.connection.accepted
	case mesh.CommandUpstreamHost:
		if up.host != nil {
			a = up.host.address
		}
	case mesh.CommandUpstreamLocalAddress:
		a = up.local
	case mesh.CommandUpstreamRemoteAddress:
		a = up.remote
	}
	return a, a.IsValid()
}

func appendAddress(b []byte, a netip.AddrPort, what mesh.AddressPart) []byte {
	switch what {
	case mesh.AddressWithoutPort:
		return a.Addr().AppendTo(b)
	case mesh.PortOnly:
		return strconv.AppendUint(b, uint64(a.Port()), 10)
	}
	return a.AppendTo(b)
}

func spacesToUnderscores(s string) string {
	if !strings.ContainsAny(s, " \t\n\v\f\r") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r >= '\t' && r <= '\r' {
			return '_'
		}
		return r
	}, s)
}

// hostname is the machine's, read once.
var hostname = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
})
