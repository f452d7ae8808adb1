// SPDX-License-Identifier: Apache-2.0

package mesh

import "net/netip"

// ClusterID names a cluster over all scopes.
type ClusterID struct {
	Scope string // Scope.Cgroup
	Name  string // Cluster.Name
}

// Hosts says where the endpoints of all clusters are just now: names resolved, health applied.
// Package upstream makes it; a HostSet whose members did not change keeps its pointer.
type Hosts struct {
	// Sets has an entry for every cluster of the Config that it was made for, tombstones included.
	Sets map[ClusterID]*HostSet
}

// HostSet is the members of one cluster.
type HostSet struct {
	// Ready: endpoints are known (possibly none). False while a cluster warms: EDS not read, first DNS answer not in.
	Ready bool
	// All are the members, in load-assignment order, addresses unique.
	All []*Host
	// Usable are those that balancing chooses from, in the order of All: the healthy ones, or all of them
	// in panic (Envoy: panic threshold).
	Usable []*Host
	Panic  bool
}

// Host is one address of a cluster.
type Host struct {
	Address  netip.AddrPort // IPv4 is never v4-mapped
	Hostname string         // the DNS name or endpoint.hostname; may be empty
	Weight   uint32         // at least 1
	Health   Health
}

// Set returns the members of one cluster; a cluster that Hosts does not know has an empty set that is not ready.
func (h *Hosts) Set(id ClusterID) *HostSet {
	if h != nil {
		if s := h.Sets[id]; s != nil {
			return s
		}
	}
	return &noHosts
}

var noHosts HostSet
