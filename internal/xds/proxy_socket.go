// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"encoding/binary"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxysocketv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// proxyHeader reads the transport socket that begins connections to upstreams with a PROXY header; nil: it is another one.
func proxyHeader(s *corev3.TransportSocket, path string, f *findings) *mesh.ProxyHeader {
	m, ok := unpack(s.GetTypedConfig()).(*proxysocketv3.ProxyProtocolUpstreamTransport)
	if !ok {
		return nil
	}
	h := &mesh.ProxyHeader{V2: m.GetConfig().GetVersion() == corev3.ProxyProtocolConfig_V2}
	path = join(path, "typed_config.config.added_tlvs")
	seen := map[uint32]bool{}
	for i, v := range m.GetConfig().GetAddedTlvs() {
		if seen[v.GetType()] {
			f.refused(join(at(path, i), "type"), "%d is given twice: give each type once", v.GetType())
		}
		seen[v.GetType()] = true
		if len(v.GetValue()) == 0 && v.GetFormatString() == nil {
			f.invalid(at(path, i), "needs a value")
		}
		if len(h.Values)+len(v.GetValue()) > 60_000 {
			f.refused(path, "more than 60,000 bytes are not supported: a header has room for 64 KiB")
			break
		}
		h.Values = append(h.Values, byte(v.GetType()))
		h.Values = binary.BigEndian.AppendUint16(h.Values, uint16(len(v.GetValue())))
		h.Values = append(h.Values, v.GetValue()...)
	}
	if !h.V2 {
		h.Values = nil // the text form has no place for them
	}
	return h
}
