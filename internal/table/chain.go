// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"

	"github.com/leno-mesh/leno/internal/mesh"
)

// onlyChain is the filter chain that every connection of a listener is for; nil: it depends on the connection, as why says.
func onlyChain(l *mesh.Listener) (chain *mesh.FilterChain, why string) {
	if len(l.Chains) == 0 {
		return l.Default, ""
	}
	if len(l.Chains) == 1 && l.Chains[0].Match.Empty() {
		return l.Chains[0], ""
	}
	if l.Address.Addr().IsUnspecified() {
		return nil, "filter_chain_match is looked at in the agent where address is unspecified"
	}
	for _, c := range l.Chains {
		if m := c.Match; !(&mesh.ChainMatch{ServerNames: m.ServerNames, TransportProtocol: m.TransportProtocol,
			ApplicationProtocols: m.ApplicationProtocols, DirectSourcePrefixes: m.DirectSourcePrefixes, SourceType: m.SourceType,
			SourcePrefixes: m.SourcePrefixes, SourcePorts: m.SourcePorts}).Empty() {
			return nil, fmt.Sprintf("%s: filter_chain_match asks for more than the destination, which only the agent knows", l.ChainName(c))
		}
	}
	if chain = byDestination(l); chain == nil {
		if chain = l.Default; chain == nil {
			return nil, "no filter chain takes connections to its address: the agent closes and counts them"
		}
	}
	return chain, ""
}

// byDestination is the chain that the listener's own address leads to; nil: none. A chain that names the port comes before
// those that name none, then the longest range counts.
func byDestination(l *mesh.Listener) *mesh.FilterChain {
	var port uint16
	for _, c := range l.Chains {
		if c.Match.DestinationPort == l.Address.Port() {
			port = l.Address.Port()
		}
	}
	var best *mesh.FilterChain
	longest := -1
	for _, c := range l.Chains {
		if c.Match.DestinationPort != port {
			continue
		}
		if c.Match.Prefixes == nil && longest < 0 {
			best, longest = c, 0
		}
		for _, p := range c.Match.Prefixes {
			if p.Contains(l.Address.Addr()) && p.Bits() > longest {
				best, longest = c, p.Bits()
			}
		}
	}
	return best
}

// chains explains each filter chain of a listener that has several, and each route.
func (c *compiler) chains(sc *mesh.Scope, l *mesh.Listener, tier Tier) {
	all := l.All()
	only, _ := onlyChain(l)
	for _, ch := range all {
		r := Reason{Scope: sc.Cgroup, Listener: l.Name, Tier: tier}
		if len(all) > 1 {
			r.Chain = l.ChainName(ch)
			switch {
			case ch.Tombstone != "":
				r.Why = "its connections are closed: " + ch.Tombstone
			case only != nil && only != ch:
				r.Why = "no connection to the listener's address is for it"
			case ch.HTTP != nil:
				r.Why = "http_connection_manager: each request is decided on its own, in the agent"
			case ch.TCP == nil:
				r.Why = "direct_response, echo: the agent answers"
			default:
				r.Why = "tcp_proxy: each connection is placed as a whole"
			}
			c.next.Reasons = append(c.next.Reasons, r)
		}
		if ch.HTTP != nil {
			c.routes(sc, l, r.Chain, ch.HTTP)
		}
	}
}
