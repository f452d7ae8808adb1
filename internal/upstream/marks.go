// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// What a host can be at run time. Whoever watches hosts keeps his own flags of each by Mark; the flags of a host end when it
// leaves its cluster, and he takes his away when he stops to watch. Together with the configured health they make what is
// published: mesh.Host.State.

// identity is what makes a host the same one when its cluster changes: another weight, priority or health leaves it as it is
// (Envoy: BaseDynamicClusterImpl::updateDynamicHostList).
type identity struct {
	cluster  mesh.ClusterID
	address  netip.AddrPort
	hostname string
	locality mesh.Locality
}

func identityOf(id mesh.ClusterID, h *mesh.Host) identity {
	return identity{id, h.Address, h.Hostname, h.Locality}
}

// Mark sets and clears flags of one host and publishes what follows from it. False: the host is no member any more. Safe for
// concurrent use.
func (u *Upstream) Mark(id mesh.ClusterID, host netip.AddrPort, set, clear mesh.Flags) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if members := u.built[id].set; members != nil {
		for _, h := range members.All {
			if h.Address == host {
				return u.mark(identityOf(id, h), set, clear)
			}
		}
	}
	return false
}

// mark is Mark for a host. Called with mu held.
func (u *Upstream) mark(k identity, set, clear mesh.Flags) bool {
	if !u.member(k) {
		return false
	}
	old := u.marks[k]
	now := old&^clear | set
	switch {
	case now == old:
		return true
	case now == 0:
		delete(u.marks, k)
	default:
		u.marks[k] = now
	}
	if u.rebuild(func(id mesh.ClusterID, _ *mesh.Cluster) bool { return id == k.cluster }) {
		signal(u.changed)
	}
	return true
}

// member says whether there is such a host just now. Called with mu held.
func (u *Upstream) member(k identity) bool {
	b, ok := u.built[k.cluster]
	return ok && slices.ContainsFunc(b.set.All, func(h *mesh.Host) bool { return identityOf(k.cluster, h) == k })
}

// forget drops the flags of hosts that have left. Called with mu held.
func (u *Upstream) forget() {
	for k := range u.marks {
		if !u.member(k) {
			delete(u.marks, k)
		}
	}
}
