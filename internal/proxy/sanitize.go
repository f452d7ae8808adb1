// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"sync"
)

// internalOnly are fields that only an internal client may set; see mesh.Origin.Internal
// (Envoy: conn_manager_utility.cc, cleanInternalHeaders).
var internalOnly = []string{"x-envoy-retriable-status-codes", "x-envoy-retriable-header-names", "x-envoy-retry-on", "x-envoy-retry-grpc-on",
	"x-envoy-max-retries", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
	"x-envoy-upstream-rq-timeout-alt-response", "x-envoy-expected-rq-timeout-ms", "x-envoy-force-trace", "x-envoy-ip-tags",
	"x-envoy-original-url", "x-envoy-hedge-on-per-try-timeout", "x-envoy-internal"}

// edgeOnly are fields that a client may not set when its own address counts.
var edgeOnly = []string{"x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node",
	"x-envoy-original-path", "x-envoy-original-host"}

// routerOnly are fields of internal clients that end at the router.
var routerOnly = []string{"x-envoy-retriable-status-codes", "x-envoy-retriable-header-names", "x-envoy-retry-on", "x-envoy-retry-grpc-on",
	"x-envoy-max-retries", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms",
	"x-envoy-upstream-rq-timeout-alt-response", "x-envoy-hedge-on-per-try-timeout"}

// sanitize makes the request's fields what an upstream may believe (Envoy: conn_manager_utility.cc, mutateRequestHeaders).
func (x *exchange) sanitize() {
	c, r := x.c, &x.c.req
	h, o := &r.Header, &c.config.Origin
	r.DropHopByHop()
	x.locate()
	if o.AppendXForwardedPort && !h.Has("x-forwarded-port") {
		h.Set("x-forwarded-port", c.port())
	}
	if !h.Has("x-forwarded-proto") {
		h.Set("x-forwarded-proto", "http")
	}
	if o.Scheme != "" {
		r.Scheme = o.Scheme
		h.Set("x-forwarded-proto", o.Scheme)
	}
	edge := c.config.UseRemoteAddress && !x.internal
	for i := range h.Fields {
		if len(h.Fields[i].Name) > 2 && h.Fields[i].Name[:2] == "x-" {
			if !x.internal {
				dropEach(h.Del, internalOnly, edge)
			}
			if !o.KeepClientCert {
				h.Del("x-forwarded-client-cert")
			}
			break
		}
	}
	if x.internal {
		h.Set("x-envoy-internal", "true")
	}
	if o.AddUserAgent {
		x.addUserAgent()
	}
	if v := c.config.Via; v != "" {
		appendVia(h, v)
	}
	if edge {
		h.Set("x-envoy-external-address", x.remote.String())
	}
	if c.config.GenerateRequestID && (edge && !c.config.PreserveExternalRequestID || !h.Has("x-request-id")) {
		h.Set("x-request-id", newRequestID())
	}
}

// locate finds the client that the request comes from, and whether it is an internal one.
func (x *exchange) locate() {
	c, h, o := x.c, &x.c.req.Header, &x.c.config.Origin
	x.remote, x.internal = c.from.Addr(), false
	var alone bool // the address is the only one that was named
	if c.config.UseRemoteAddress {
		alone = !h.Has("x-forwarded-for")
		if o.TrustedHops > 0 {
			if a, _ := lastForwarded(h, o.TrustedHops-1); a.IsValid() {
				x.remote, x.forwarded = a, true
			}
		}
		if !o.SkipXFFAppend {
			h.Add("x-forwarded-for", c.forwardedFor())
		}
		if o.TrustedHops == 0 {
			h.Set("x-forwarded-proto", "http")
			if o.AppendXForwardedPort {
				h.Del("x-forwarded-port")
			}
		}
	} else {
		for i := range o.Detection {
			d := &o.Detection[i]
			a, only := detect(d, h, c.from.Addr())
			if d.Append || len(d.Trusted) > 0 && !within(d.Trusted, c.from.Addr()) {
				h.Add("x-forwarded-for", c.forwardedFor())
			}
			if a.IsValid() {
				x.remote, alone, x.forwarded = a, only, true
				break
			}
		}
	}
	x.internal = alone && within(o.Internal, x.remote)
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
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
