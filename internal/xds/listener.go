// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"go.yaml.in/yaml/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// listenerResource is one decoded listener. Immutable.
type listenerResource struct {
	listener *mesh.Listener
	rds      []routeSource
	// refs are the clusters that its inline routes name and that must exist when it is added.
	refs []clusterRef
}

// routeSource is where a chain's route configuration comes from.
type routeSource struct {
	from fileSource
	path string // proto path of the config source
	name string // of the route configuration
}

// clusterRef is a place that names a cluster.
type clusterRef struct {
	path string
	name string
}

func (r *reader) listener(n *yaml.Node) (*listenerResource, *findings) {
	var p listenerv3.Listener
	f := r.read(n, &p, "listener")
	out := &listenerResource{}
	if p.GetAddress() == nil && !f.has(mesh.Rejected) {
		f.invalid("address", "is missing")
	}
	l := &mesh.Listener{
		Name:       p.GetName(),
		Address:    bindAddress(p.GetAddress(), "address", f),
		V4Compat:   p.GetAddress().GetSocketAddress().GetIpv4Compat(),
		BindToPort: boolOr(p.GetBindToPort(), boolOr(p.GetDeprecatedV1().GetBindToPort(), true)),
		StatPrefix: p.GetStatPrefix(),
		Tier:       tier(p.GetMetadata(), "metadata", f),
	}
	for i, a := range p.GetAdditionalAddresses() {
		path := join(at("additional_addresses", i), "address")
		if a.GetAddress() == nil {
			f.invalid(path, "is missing")
			continue
		}
		if !l.BindToPort {
			f.refused(path, "is not supported where bind_to_port is false: give a listener per address")
		}
		next := mesh.ListenAddress{Address: bindAddress(a.GetAddress(), path, f), V4Compat: a.GetAddress().GetSocketAddress().GetIpv4Compat()}
		if slices.ContainsFunc(l.Addresses(), func(x mesh.ListenAddress) bool { return x.Address.IsValid() && x.Address == next.Address }) {
			f.refused(path, "%s is given twice", next.Address)
		}
		l.Additional = append(l.Additional, next)
	}
	if l.Name == "" && l.Address.IsValid() {
		l.Name = l.Address.String() // Envoy makes up a random name
	}
	out.listener = l
	f.unit("", func(reason string) { entomb(l, reason) })
	listenerFilters(&p, l, f)
	r.filterChains(&p, out, f)
	f.bury()
	if all := l.All(); len(all) > 0 && !slices.ContainsFunc(all, func(c *mesh.FilterChain) bool { return c.Tombstone == "" }) {
		entomb(l, all[0].Tombstone) // nobody is served: a connect had better fail
	}
	return out, f
}

func entomb(l *mesh.Listener, reason string) { l.Chains, l.Default, l.Tombstone = nil, nil, reason }

// tier reads the listener's own wish from leno's metadata.
func tier(m *corev3.Metadata, path string, f *findings) string {
	own := m.GetFilterMetadata()["leno"]
	path = join(path, `filter_metadata["leno"]`) // valid for Envoy whatever it says
	var tier string
	for _, k := range slices.Sorted(maps.Keys(own.GetFields())) {
		if k != "tier" {
			f.refused(join(path, k), "no such setting; leno accepts tier")
			continue
		}
		if tier = own.GetFields()[k].GetStringValue(); tier != "proxy" && tier != "socket" {
			f.refused(join(path, k), `must be "proxy" or "socket"`)
			tier = ""
		}
	}
	return tier
}

// sameAddress is a socket that two listeners ask for; invalid: there is none.
func sameAddress(a, b *mesh.Listener) netip.AddrPort {
	for _, x := range a.Addresses() {
		for _, y := range b.Addresses() {
			if x.Address == y.Address {
				return x.Address
			}
		}
	}
	return netip.AddrPort{}
}
