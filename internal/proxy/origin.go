// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// detect finds a client in x-forwarded-for. alone: it is the only one that is named there, so that an internal address may be
// believed. Invalid: there is none (Envoy: extensions/http/original_ip_detection/xff).
func detect(d *mesh.XFFDetection, h *http1.Header, remote netip.Addr) (client netip.Addr, alone bool) {
	if len(d.Trusted) == 0 {
		return lastForwarded(h, d.Hops)
	}
	if !within(d.Trusted, remote) {
		return netip.Addr{}, false
	}
	list := h.Value("x-forwarded-for")
	alone = strings.IndexByte(list, ',') < 0
	for list != "" {
		var entry string
		if i := strings.LastIndexByte(list, ','); i >= 0 {
			list, entry = list[:i], list[i+1:]
		} else {
			list, entry = "", list
		}
		a, err := netip.ParseAddr(trimSpace(entry))
		if err != nil {
			break
		}
		client = a
		if !within(d.Trusted, a) {
			break
		}
	}
	return client, alone
}

// lastForwarded is the last address of x-forwarded-for, or one of those before it.
func lastForwarded(h *http1.Header, skip uint32) (client netip.Addr, alone bool) {
	list, ok := h.Get("x-forwarded-for")
	if !ok {
		return netip.Addr{}, false
	}
	for range skip {
		i := strings.LastIndexByte(list, ',')
		if i < 0 {
			return netip.Addr{}, false
		}
		list = list[:i]
	}
	i := strings.LastIndexByte(list, ',')
	a, err := netip.ParseAddr(trimSpace(list[i+1:]))
	if err != nil {
		return netip.Addr{}, false
	}
	return a, i < 0 && skip == 0
}

func trimSpace(s string) string { return strings.Trim(s, " \t") }

func within(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedFor is what x-forwarded-for gets for the connection's own peer.
func (c *httpConn) forwardedFor() string {
	if c.from.Addr().IsLoopback() {
		return hostAddress()
	}
	return c.from.Addr().String()
}

// port is the one that the client has asked for.
func (c *httpConn) port() string { return strconv.Itoa(int(c.to.Port())) }

// addUserAgent tells an upstream who calls: this proxy's node.
func (x *exchange) addUserAgent() {
	h, node := &x.c.req.Header, x.c.p.state.Load().scopes[x.c.v.scope].Node
	h.Set("x-envoy-downstream-service-cluster", node.Cluster)
	if h.Value("user-agent") == "" {
		h.Set("user-agent", node.Cluster)
	}
	if node.ID != "" {
		h.Set("x-envoy-downstream-service-node", node.ID)
	}
}

// appendVia adds this proxy to the list of those that a message passed.
func appendVia(h *http1.Header, via string) {
	if v, ok := h.Get("via"); ok {
		via = v + ", " + via
	}
	h.Set("via", via)
}

// takeClientTimeout lets an internal client choose the route's timeout, and removes what ends at the router (Envoy: router.cc,
// finalTimeout).
func (x *exchange) takeClientTimeout() {
	h := &x.c.req.Header
	if ms, err := strconv.ParseUint(h.Value("x-envoy-upstream-rq-timeout-ms"), 10, 32); err == nil {
		x.timeout = time.Duration(ms) * time.Millisecond
	}
	dropEach(h.Del, routerOnly, false)
}
