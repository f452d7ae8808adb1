// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// isGRPC says whether a request is gRPC, by its content type.
func isGRPC(h *http1.Header) bool {
	rest, ok := strings.CutPrefix(h.Value("content-type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+')
}

// grpcTimeout is the timeout of a gRPC request where the route bounds what it may ask for (Envoy: router.cc, finalTimeout);
// 0: none.
func grpcTimeout(a *mesh.RouteAction, asked string) time.Duration {
	d := parseGRPCTimeout(asked)
	if a.GRPCTimeoutOffset < d {
		d -= a.GRPCTimeoutOffset
	}
	if limit := *a.MaxGRPCTimeout; limit > 0 && (d == 0 || d > limit) {
		d = limit
	}
	return d
}

var grpcUnits = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond,
	'u': time.Microsecond, 'n': time.Nanosecond}

// parseGRPCTimeout reads up to eight digits and a unit, rounded up to milliseconds; 0: it is not that.
func parseGRPCTimeout(s string) time.Duration {
	if len(s) < 2 || len(s) > 9 {
		return 0
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if err != nil {
		return 0
	}
	d := time.Duration(n) * grpcUnits[s[len(s)-1]]
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// formatGRPCTimeout writes grpc-timeout with at most eight digits (Envoy: grpc/common.cc, toGrpcTimeout).
func formatGRPCTimeout(d time.Duration) string {
	const most = 99_999_999
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{time.Millisecond, "m"}, {time.Second, "S"}, {time.Minute, "M"}} {
		if n := int64(d / u.of); n <= most {
			return strconv.FormatInt(n, 10) + u.name
		}
	}
	return strconv.FormatInt(min(int64(d/time.Hour), most), 10) + "H"
}

// grpcReply turns a reply of our own into what a gRPC client understands: a head alone that says how the call ended
// (Envoy: http/utility.cc, prepareLocalReply).
func grpcReply(status int, body string, h *http1.Header) {
	h.Set("content-type", "application/grpc")
	if !h.Has("grpc-status") {
		h.Set("grpc-status", strconv.Itoa(grpcStatus(status)))
	}
	if body != "" {
		h.Set("grpc-message", grpcMessage(body))
	}
}

// grpcStatus is the code of a call that was answered with an HTTP status (gRPC: http-grpc-status-mapping.md).
func grpcStatus(status int) int {
	switch status {
	case 400:
		return 13 // internal
	case 401:
		return 16 // unauthenticated
	case 403:
		return 7 // permission denied
	case 404:
		return 12 // unimplemented
	case 429, 502, 503, 504:
		return 14 // unavailable
	}
	return 2 // unknown
}

// grpcAsHTTP are gRPC's codes as HTTP statuses (google/rpc/code.proto).
var grpcAsHTTP = [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}

// grpcMessage escapes a message as gRPC does (PROTOCOL-HTTP2.md, Status-Message).
func grpcMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
