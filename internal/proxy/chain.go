// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// chain is one filter chain of a version of a listener.
type chain struct {
	*version
	config *mesh.FilterChain
	http   *httpStats  // of a chain that ends with HTTP
	tcp    *tcpStats   // of one that ends with TCP
	inline *routeTable // the connection manager's own
	before []chained   // its filters before the router
	limits []*connectionLimit
	logs   []accessLog // of each request, or of a TCP connection
	judges []*networkRBAC
}

func (p *Proxy) chain(old, next *state, v *version, config *mesh.FilterChain) *chain {
	c := &chain{version: v, config: config}
	for _, l := range config.Limits {
		if limit := (&connectionLimit{config: l, stats: p.stats.limit(l.StatPrefix)}); !l.Off {
			c.limits = append(c.limits, limit)
		}
	}
	for _, r := range config.RBAC {
		c.judges = append(c.judges, newNetworkRBAC(r, p.stats.extra))
	}
	switch {
	case config.TCP != nil:
		c.tcp = p.stats.tcp(config.TCP.StatPrefix)
		c.logs = p.accessLogs(config.TCP.AccessLogs)
	case config.HTTP != nil:
		c.http = p.stats.http(config.HTTP.StatPrefix)
		c.before = p.newFilters(config.HTTP)
		c.logs = p.accessLogs(config.HTTP.AccessLogs)
		if rc := config.HTTP.RouteConfig; rc != nil {
			c.inline = next.table(old, rc)
		}
	}
	return c
}

// arrival is what is known of a new connection when its chain is chosen.
type arrival struct {
	local, remote, direct netip.AddrPort // direct is the peer itself
	serverName            string         // in lower case
	transport             string
	protocols             []string
}

// chainTree finds the chain of a connection. Each level looks at one field of the matches and goes on with the most specific
// value that fits; there is no way back from a level (Envoy: filter_chain_manager_impl.cc).
type chainTree struct {
	ports    map[uint16]*chainTree
	prefixes *prefixTree
	names    map[string]*chainTree
	chain    *chain // below the last level
}

// add puts a chain below everything that its match names. The order of the levels is that of find.
func (t *chainTree) add(c *chain) {
	m := &c.config.Match
	for _, t := range t.port(m.DestinationPort).nets(m.Prefixes) {
		for _, t := range t.named(m.ServerNames...) {
			for _, t := range t.name(m.TransportProtocol).named(m.ApplicationProtocols...) {
				for _, t := range t.nets(m.DirectSourcePrefixes) {
					for _, t := range t.port(uint16(m.SourceType)).nets(m.SourcePrefixes) {
						if len(m.SourcePorts) == 0 {
							t.port(0).chain = c
						}
						for _, port := range m.SourcePorts {
							t.port(port).chain = c
						}
					}
				}
			}
		}
	}
}

func (t *chainTree) port(n uint16) *chainTree {
	if t.ports == nil {
		t.ports = map[uint16]*chainTree{}
	}
	return below(t.ports, n)
}

func (t *chainTree) name(s string) *chainTree {
	if t.names == nil {
		t.names = map[string]*chainTree{}
	}
	return below(t.names, s)
}

func (t *chainTree) named(list ...string) []*chainTree {
	if len(list) == 0 {
		list = []string{""}
	}
	all := make([]*chainTree, len(list))
	for i, s := range list {
		all[i] = t.name(s)
	}
	return all
}

func (t *chainTree) nets(list []netip.Prefix) []*chainTree {
	if t.prefixes == nil {
		t.prefixes = &prefixTree{byPrefix: map[netip.Prefix]*chainTree{}}
	}
	return t.prefixes.below(list)
}

func below[K comparable](m map[K]*chainTree, k K) *chainTree {
	t := m[k]
	if t == nil {
		t = &chainTree{}
		m[k] = t
	}
	return t
}

// find returns the chain of a connection; nil: none takes it.
func (t *chainTree) find(a *arrival) *chain {
	next := t.ports[a.local.Port()]
	if next == nil {
		next = t.ports[0]
	}
	if next = next.net(a.local.Addr()); next == nil {
		return nil
	}
	if next = next.serverName(a.serverName).exactly(a.transport).exactly(a.protocols...).net(a.direct.Addr()); next == nil {
		return nil
	}
	if next = next.source(a).net(a.remote.Addr()); next == nil {
		return nil
	}
	if last := next.ports[a.remote.Port()]; last != nil {
		return last.chain
	}
	if last := next.ports[0]; last != nil {
		return last.chain
	}
	return nil
}

func (t *chainTree) net(a netip.Addr) *chainTree {
	if t == nil {
		return nil
	}
	return t.prefixes.find(a)
}

// serverName goes on with the name, the longest domain that it is below, or no name.
func (t *chainTree) serverName(name string) *chainTree {
	if t == nil {
		return nil
	}
	if next := t.names[name]; next != nil {
		return next
	}
	for i := 1; i < len(name)-1; i++ {
		if name[i] != '.' {
			continue
		}
		if next := t.names[name[i:]]; next != nil {
			return next
		}
	}
	return t.names[""]
}

// exactly goes on with the first of the names that is there, or with no name.
func (t *chainTree) exactly(names ...string) *chainTree {
	if t == nil {
		return nil
	}
	for _, n := range names {
		if next := t.names[n]; next != nil {
			return next
		}
	}
	return t.names[""]
}

// source goes on by where the connection comes from.
func (t *chainTree) source(a *arrival) *chainTree {
	from := mesh.ExternalSource
	if sameIPOrLoopback(a) {
		from = mesh.LocalSource
	}
	if next := t.ports[uint16(from)]; next != nil {
		return next
	}
	return t.ports[uint16(mesh.AnySource)]
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// sameIPOrLoopback is narrower than the name: of 127.0.0.0/8 only 127.0.0.1 counts (Envoy: Utility::isSameIpOrLoopback).
func sameIPOrLoopback(a *arrival) bool {
	from := a.remote.Addr()
	return from == loopback4 || from == loopback6 || from == a.local.Addr()
}

// prefixTree finds the longest range that holds an address.
type prefixTree struct {
	byPrefix map[netip.Prefix]*chainTree
	bits     []int      // that there are, longest first
	all      *chainTree // of every address
}

func (p *prefixTree) below(list []netip.Prefix) []*chainTree {
	if len(list) == 0 {
		if p.all == nil {
			p.all = &chainTree{}
		}
		return []*chainTree{p.all}
	}
	next := make([]*chainTree, len(list))
	for i, k := range list {
		next[i] = below(p.byPrefix, k)
		if !slices.Contains(p.bits, k.Bits()) {
			p.bits = append(p.bits, k.Bits())
			slices.SortFunc(p.bits, func(a, b int) int { return b - a })
		}
	}
	return next
}

func (p *prefixTree) find(a netip.Addr) *chainTree {
	if p == nil {
		return nil
	}
	for _, bits := range p.bits {
		if k, err := a.Prefix(bits); err == nil && p.byPrefix[k] != nil { // error: the range is of the other family
			return p.byPrefix[k]
		}
	}
	return p.all
}
