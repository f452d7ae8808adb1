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
	// All are the members, in load-assignment order; addresses are unique but in static clusters.
	All []*Host
	// Levels are the priorities, the first one first, without gaps; none while there are no members.
	Levels []Level
	// Usable are those that balancing can choose, in the order of All: of each level that has load the healthy ones, the
	// degraded ones, or all of them in panic.
	Usable []*Host
	// Split: Usable is not chosen from as one list, but by priority or by locality first.
	Split bool
}

// Level is the members of one priority and its share of the requests
// (Envoy: intro/arch_overview/upstream/load_balancing/priority).
type Level struct {
	All      []*Host
	Healthy  []*Host // of All
	Degraded []*Host // of All
	// HealthyLoad and DegradedLoad are the percentages of requests that go to those lists. They add up to 100 over all levels.
	HealthyLoad, DegradedLoad uint32
	// Panic: too few are healthy, and All takes the place of the other lists (Envoy: panic threshold).
	Panic bool
	// Localities take the hosts apart, the own locality first, then by name. LocalFirst: there are hosts in the own one.
	Localities []LocalityHosts
	LocalFirst bool
}

// TooFew says whether less than that many percent of the hosts that count are healthy or degraded.
func (l *Level) TooFew(percent uint32) bool {
	n := 0
	for _, h := range l.All {
		if !h.Excluded() {
			n++
		}
	}
	fit := 0.0
	if n > 0 {
		fit = 100*float64(len(l.Healthy))/float64(n) + 100*float64(len(l.Degraded))/float64(n)
	}
	return fit < float64(percent)
}

// LocalityHosts is the members of one priority in one locality. It holds one host at least.
type LocalityHosts struct {
	Locality Locality
	// Weight as configured; 0: none.
	Weight   uint32
	All      []*Host
	Healthy  []*Host
	Degraded []*Host
	// HealthyWeight and DegradedWeight are Weight less what is missing in those lists (Envoy: effective locality weight).
	HealthyWeight, DegradedWeight float64
}

// Host is one address of a cluster.
type Host struct {
	Address  netip.AddrPort // IPv4 is never v4-mapped
	Hostname string         // the DNS name or endpoint.hostname; may be empty
	Weight   uint32         // at least 1
	Health   Health         // as configured
	Flags    Flags          // as found at run time
	Priority uint32
	Locality Locality
	// HashKey stands for the address in hash tables; empty: the address does.
	HashKey string
}

// Flags say what was found out about a host at run time (Envoy: Host::HealthFlag).
type Flags uint32

const (
	FailedActiveCheck     Flags = 1 << iota // FAILED_ACTIVE_HC
	FailedOutlierCheck                      // FAILED_OUTLIER_CHECK: outlier detection ejected it
	DegradedActiveCheck                     // DEGRADED_ACTIVE_HC
	PendingActiveCheck                      // PENDING_ACTIVE_HC: not checked yet
	ExcludedByActiveCheck                   // EXCLUDED_VIA_IMMEDIATE_HC_FAIL: it asked to be left out, and fails
	PendingRemoval                          // PENDING_DYNAMIC_REMOVAL: no member any more, and kept while checks find it healthy
	ActiveCheckTimeout                      // ACTIVE_HC_TIMEOUT: why it failed; it adds nothing to FailedActiveCheck
)

// State is what balancing makes of a host, never Draining (Envoy: Host::coarseHealth).
func (h *Host) State() Health {
	switch {
	case h.Health == Unhealthy || h.Health == Draining || h.Flags&(FailedActiveCheck|FailedOutlierCheck) != 0:
		return Unhealthy
	case h.Health == Degraded || h.Flags&DegradedActiveCheck != 0:
		return Degraded
	}
	return Healthy
}

// Excluded says that a host does not count as a member in the health of its priority.
func (h *Host) Excluded() bool {
	return h.Health == Draining || h.Flags&(PendingActiveCheck|ExcludedByActiveCheck) != 0
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
