// SPDX-License-Identifier: Apache-2.0

package proxy

import (
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
