// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// grpc says whether a request is gRPC's by its content type.
func grpc(r *http1.Request) bool {
	rest, ok := strings.CutPrefix(r.Header.Value("content-type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+')
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
