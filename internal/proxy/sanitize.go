// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// internalOnly are fields that only an internal client may set; with no internal addresses configured nobody is internal
// (Envoy: conn_manager_utility.cc, cleanInternalHeaders).
var internalOnly = []string{"x-envoy-retriable-status-codes", "x-envoy-retriable-header-names", "x-envoy-retry-on", "x-envoy-retry-grpc-on",
	"x-envoy-max-retries", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
	"x-envoy-upstream-rq-timeout-alt-response", "x-envoy-expected-rq-timeout-ms", "x-envoy-force-trace", "x-envoy-ip-tags",
	"x-envoy-original-url", "x-envoy-hedge-on-per-try-timeout", "x-envoy-internal", "x-forwarded-client-cert"}

// edgeOnly are fields that a client may not set when its own address counts.
var edgeOnly = []string{"x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node",
	"x-envoy-original-path", "x-envoy-original-host"}

// sanitize makes the request's fields what an upstream may believe (Envoy: conn_manager_utility.cc, mutateRequestHeaders).
func (x *exchange) sanitize() {
	c, r := x.c, &x.c.req
	h := &r.Header
	r.DropHopByHop()
	edge := c.config.UseRemoteAddress
	if edge {
		client := c.remote.String()
		if c.remote.IsLoopback() {
			client = hostAddress()
		}
		h.Add("x-forwarded-for", client)
		h.Set("x-forwarded-proto", "http")
	} else if !h.Has("x-forwarded-proto") {
		h.Set("x-forwarded-proto", "http")
	}
	for i := range h.Fields {
		if len(h.Fields[i].Name) > 2 && h.Fields[i].Name[:2] == "x-" {
			dropEach(h.Del, internalOnly, edge)
			break
		}
	}
	if edge {
		h.Set("x-envoy-external-address", c.remote.String())
	}
	if c.config.GenerateRequestID && (edge && !c.config.PreserveExternalRequestID || !h.Has("x-request-id")) {
		h.Set("x-request-id", newRequestID())
	}
}

func dropEach(del func(string), names []string, edge bool) {
	for _, n := range names {
		del(n)
	}
	if edge {
		for _, n := range edgeOnly {
			del(n)
		}
	}
}

// hostAddress is what Envoy takes for a client on loopback: the first IPv4 address of this machine that is not loopback.
var hostAddress = sync.OnceValue(func() string {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
				return n.IP.String()
			}
		}
	}
	return "127.0.0.1"
})

// newRequestID is a random UUID (RFC 9562 section 5.4).
func newRequestID() string {
	a, b := rand.Uint64(), rand.Uint64()
	a = a&^0xf000 | 0x4000
	b = b&^(3<<62) | 1<<63
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}
