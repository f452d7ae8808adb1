// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	dstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	proxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// maxClientHello is what Envoy's tls_inspector reads at most, in bytes.
const maxClientHello = 16 << 10

// listenerFilters reads what looks at a connection before its chain is chosen.
func listenerFilters(p *listenerv3.Listener, l *mesh.Listener, f *findings) {
	timeout := duration(p.GetListenerFiltersTimeout(), 15*time.Second, "listener_filters_timeout", f)
	if len(p.GetListenerFilters()) > 0 {
		l.FiltersTimeout, l.ContinueOnFiltersTimeout = timeout, p.GetContinueOnListenerFiltersTimeout()
	}
	for i, flt := range p.GetListenerFilters() {
		path := join(at("listener_filters", i), "typed_config")
		if flt.GetTypedConfig() == nil && flt.GetConfigDiscovery() == nil {
			f.invalid(path, "is missing")
			continue
		}
		switch m := unpack(flt.GetTypedConfig()).(type) { // other types: the table knows
		case *tlsv3.TlsInspector:
			l.Filters = append(l.Filters, mesh.ListenerFilter{TLS: tlsInspector(m)})
		case *httpv3.HttpInspector:
			l.Filters = append(l.Filters, mesh.ListenerFilter{HTTP: true})
		case *proxyv3.ProxyProtocol:
			l.Filters = append(l.Filters, mesh.ListenerFilter{Proxy: proxyProtocol(m)})
		case *dstv3.OriginalDst:
			if l.BindToPort {
				f.refused(path, "is only supported where bind_to_port is false: there the address is the original one anyway")
			}
		}
	}
}

func tlsInspector(p *tlsv3.TlsInspector) *mesh.TLSInspector {
	return &mesh.TLSInspector{
		MaxClientHello: uint32Or(p.GetMaxClientHelloSize(), maxClientHello),
		CloseOnErrors:  p.GetCloseConnectionOnClientHelloParsingErrors(),
	}
}

func proxyProtocol(p *proxyv3.ProxyProtocol) *mesh.ProxyProtocol {
	not := func(v corev3.ProxyProtocolConfig_Version) bool { return slices.Contains(p.GetDisallowedVersions(), v) }
	return &mesh.ProxyProtocol{StatPrefix: p.GetStatPrefix(), Optional: p.GetAllowRequestsWithoutProxyProtocol(),
		NoV1: not(corev3.ProxyProtocolConfig_V1), NoV2: not(corev3.ProxyProtocolConfig_V2)}
}
