// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	directv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"
	echov3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/echo/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

func (r *reader) filterChains(p *listenerv3.Listener, out *listenerResource, f *findings) {
	if len(p.GetFilterChains()) == 0 && p.GetDefaultFilterChain() == nil && p.GetApiListener() == nil && p.GetUdpListenerConfig() == nil {
		f.invalid("filter_chains", "no filter chains specified")
	}
	l := out.listener
	taken := map[chainKey]int{}
	for i, c := range p.GetFilterChains() {
		path := at("filter_chains", i)
		chain := r.filterChain(c, path, out, f)
		match := join(path, "filter_chain_match")
		// What is refused in a match could be anybody's connection.
		f.unit(match, func(reason string) { entomb(l, reason) })
		chain.Match = chainMatch(c.GetFilterChainMatch(), match, f)
		wide(&chain.Match, len(p.GetFilterChains()), match, f)
		if !l.BindToPort && l.Address.IsValid() && l.Address.Addr().IsUnspecified() && chain.Match.Prefixes != nil {
			f.refused(join(match, "prefix_ranges"), "is not supported where address is unspecified and bind_to_port is false")
		}
		if m := chain.Match; !l.BindToPort && (m.DirectSourcePrefixes != nil || m.SourceType != mesh.AnySource || m.SourcePrefixes != nil || m.SourcePorts != nil) {
			// The connect of such a client is led to a socket on its loopback interface.
			f.refused(match, "sources are not supported where bind_to_port is false: the agent does not see them")
		}
		eachKey(&chain.Match, func(k chainKey) {
			if j, ok := taken[k]; ok {
				f.invalid(match, "overlaps with that of filter_chains[%d]", j)
			}
			taken[k] = i
		})
		l.Chains = append(l.Chains, chain)
	}
	if c := p.GetDefaultFilterChain(); c != nil {
		l.Default = r.filterChain(c, "default_filter_chain", out, f)
	}
}

// filterChain reads what a chain does. A chain that cannot be honoured closes its connections; the others serve.
func (r *reader) filterChain(p *listenerv3.FilterChain, base string, out *listenerResource, f *findings) *mesh.FilterChain {
	c := &mesh.FilterChain{Name: p.GetName()}
	f.unit(base, func(reason string) { *c = mesh.FilterChain{Name: c.Name, Match: c.Match, Tombstone: reason} })
	filters := p.GetFilters()
	if len(filters) == 0 {
		f.refused(base, "has no filters; leno accepts tcp_proxy or http_connection_manager")
		return c
	}
	for i, flt := range filters {
		path := at(join(base, "filters"), i)
		if flt.GetTypedConfig() == nil {
			if flt.GetConfigDiscovery() == nil {
				f.invalid(path, "typed_config is missing")
			}
			continue
		}
		last := i == len(filters)-1
		path = join(path, "typed_config")
		m := unpack(flt.GetTypedConfig()) // other types: the table knows
		limit, limits := m.(*limitv3.ConnectionLimit)
		rules, judges := m.(*networkrbacv3.RBAC)
		first := limits || judges
		switch {
		case first && last:
			f.invalid(path, "non-terminal filter %s must not be the last filter of the chain", flt.GetName())
			continue
		case limits:
			c.Limits = append(c.Limits, connectionLimit(limit, path, f))
			continue
		case judges:
			c.RBAC = append(c.RBAC, networkRBAC(rules, path, f))
			continue
		case m != nil && !last:
			f.invalid(at(join(base, "filters"), i), "terminal filter %s must be the last filter of the chain", flt.GetName())
			continue
		}
		switch m := m.(type) {
		case *tcpv3.TcpProxy:
			c.TCP = tcpProxy(m, path, f)
		case *hcmv3.HttpConnectionManager:
			c.HTTP = r.http(m, path, out, f)
		case *directv3.Config:
			c.Direct = &mesh.DirectBytes{Body: dataSource(m.GetResponse(), join(path, "response"), f)}
		case *echov3.Echo:
			c.Echo = true
		}
	}
	if c.TCP == nil && c.HTTP == nil && c.Direct == nil && !c.Echo && !f.has(mesh.Rejected) && !f.hasBelow(mesh.Refused, base) {
		f.refused(base, "must end with tcp_proxy or http_connection_manager")
	}
	if len(c.RBAC) > 0 && (c.Direct != nil || c.Echo) {
		f.refused(base, "rbac is not supported before direct_response and echo: leno accepts it before tcp_proxy and http_connection_manager")
	}
	if len(c.RBAC) > 0 && c.TCP != nil && c.TCP.AwaitData {
		f.refused(base, "rbac is not supported before tcp_proxy with upstream_connect_mode ON_DOWNSTREAM_DATA: give IMMEDIATE")
	}
	return c
}

func connectionLimit(p *limitv3.ConnectionLimit, path string, f *findings) *mesh.ConnectionLimit {
	if p.GetMaxConnections() == nil {
		f.invalid(join(path, "max_connections"), "is missing")
	}
	return &mesh.ConnectionLimit{StatPrefix: p.GetStatPrefix(), Max: p.GetMaxConnections().GetValue(),
		Off:   !boolOr(p.GetRuntimeEnabled().GetDefaultValue(), true),
		Delay: duration(p.GetDelay(), 0, join(path, "delay"), f)}
}

func chainMatch(p *listenerv3.FilterChainMatch, path string, f *findings) mesh.ChainMatch {
	m := mesh.ChainMatch{
		DestinationPort:      uint16(p.GetDestinationPort().GetValue()),
		Prefixes:             prefixes(p.GetPrefixRanges(), join(path, "prefix_ranges"), f),
		TransportProtocol:    p.GetTransportProtocol(),
		ApplicationProtocols: p.GetApplicationProtocols(),
		DirectSourcePrefixes: prefixes(p.GetDirectSourcePrefixRanges(), join(path, "direct_source_prefix_ranges"), f),
		SourceType:           mesh.SourceType(p.GetSourceType()),
		SourcePrefixes:       prefixes(p.GetSourcePrefixRanges(), join(path, "source_prefix_ranges"), f),
	}
	for _, port := range p.GetSourcePorts() {
		m.SourcePorts = append(m.SourcePorts, uint16(port))
	}
	for i, name := range p.GetServerNames() {
		whole := strings.TrimPrefix(name, "*.")
		if strings.Contains(whole, "*") {
			f.invalid(at(join(path, "server_names"), i), "partial wildcards are not supported: %q", name)
		}
		if whole != name {
			name = "." + whole
		}
		m.ServerNames = append(m.ServerNames, strings.ToLower(name))
	}
	if p.GetAddressSuffix() != "" || p.GetSuffixLen() != nil {
		f.invalid(path, "address_suffix and suffix_len are not implemented")
	}
	return m
}

// wide refuses a range that holds every address where it stands beside other chains: Envoy does not say which of it and an
// absent list comes first.
func wide(m *mesh.ChainMatch, chains int, path string, f *findings) {
	for _, list := range []struct {
		field string
		all   []netip.Prefix
	}{{"prefix_ranges", m.Prefixes}, {"direct_source_prefix_ranges", m.DirectSourcePrefixes}, {"source_prefix_ranges", m.SourcePrefixes}} {
		for i, p := range list.all {
			if p.Bits() == 0 && chains > 1 {
				f.refused(at(join(path, list.field), i), "a prefix_len of 0 is not supported: leave the list out")
			}
		}
	}
}

// chainKey is one combination of values that a match takes.
type chainKey struct {
	port                   uint16
	to, direct, source     netip.Prefix
	name, transport, proto string
	sourceType             mesh.SourceType
	sourcePort             uint16
}

// eachKey calls add for every combination of values.
func eachKey(m *mesh.ChainMatch, add func(chainKey)) {
	k := chainKey{port: m.DestinationPort, transport: m.TransportProtocol, sourceType: m.SourceType}
	each(m.Prefixes, &k.to, func() {
		each(m.ServerNames, &k.name, func() {
			each(m.ApplicationProtocols, &k.proto, func() {
				each(m.DirectSourcePrefixes, &k.direct, func() {
					each(m.SourcePrefixes, &k.source, func() {
						each(m.SourcePorts, &k.sourcePort, func() { add(k) })
					})
				})
			})
		})
	})
}

// each goes on with each value in its place, or with none.
func each[T any](list []T, place *T, next func()) {
	if len(list) == 0 {
		next()
	}
	for _, v := range list {
		*place = v
		next()
	}
	*place = *new(T)
}
