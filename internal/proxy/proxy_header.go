// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/leno-mesh/leno/internal/mesh"
)

// ends are those of a client's connection, as listener filters say.
type ends struct{ from, to netip.AddrPort }

// appendProxyHeader says to an upstream whose connection goes on in this one
// (Envoy: transport_sockets/proxy_protocol; https://www.haproxy.org/download/2.1/doc/proxy-protocol.txt).
// Zero ends: it is nobody's, and the header names the connection itself, or nothing in the binary form.
func appendProxyHeader(b []byte, h *mesh.ProxyHeader, e ends, conn net.Conn) []byte {
	if !e.from.IsValid() {
		if h.V2 {
			return append(append(b, proxyV2Signature...), 0x20, 0, 0, 0)
		}
		e = ends{addressOf(conn.LocalAddr()), addressOf(conn.RemoteAddr())}
	}
	v4 := e.from.Addr().Is4()
	if !h.V2 {
		family := "TCP6"
		if v4 {
			family = "TCP4"
		}
		return fmt.Appendf(b, "%s%s %s %s %d %d\r\n", proxyV1Signature, family, e.from.Addr(), e.to.Addr(), e.from.Port(), e.to.Port())
	}
	const command, inet, inet6 = 0x21, 0x11, 0x21
	b = append(append(b, proxyV2Signature...), command)
	from, to := e.from.Addr().AsSlice(), e.to.Addr().AsSlice()
	family := byte(inet6)
	if v4 {
		family = inet
	}
	b = append(b, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(from)+len(to)+4+len(h.Values)))
	b = append(append(b, from...), to...)
	b = binary.BigEndian.AppendUint16(b, e.from.Port())
	b = binary.BigEndian.AppendUint16(b, e.to.Port())
	return append(b, h.Values...)
}

// poolKey tells pools apart whose connections begin with a PROXY header: each client's connection has its own.
type poolKey struct {
	priority mesh.Priority
	ends     ends
	header   *mesh.ProxyHeader
}

// pool is where a request from such a connection finds its leg.
func (h *host) pool(of mesh.Priority, header *mesh.ProxyHeader, from, to netip.AddrPort) *pool {
	plain := &h.pools[of]
	if header == nil {
		return plain
	}
	key := poolKey{of, ends{from, to}, header}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.announced[key]
	if p == nil {
		p = &pool{cluster: plain.cluster, host: h, flight: plain.flight, key: key}
		if h.announced == nil {
			h.announced = map[poolKey]*pool{}
		}
		h.announced[key] = p
	}
	return p
}

// sweepAnnounced drops pools that are empty, and those whose header is not the configured one any more.
func (h *host) sweepAnnounced(header *mesh.ProxyHeader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, p := range h.announced {
		if key.header != header {
			p.close()
		}
		if p.retire() {
			delete(h.announced, key)
		}
	}
}

// each calls f for all pools of the host.
func (h *host) each(f func(*pool)) {
	for i := range h.pools {
		f(&h.pools[i])
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.announced {
		f(p)
	}
}
