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

// Mark sets and clears flags of one host and publishes what follows from it. False: the host is no member any more. Safe for
// concurrent use.
func (u *Upstream) Mark(id mesh.ClusterID, host netip.AddrPort, set, clear mesh.Flags) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mark(hostKey{id, host}, set, clear)
}

// were are the members of a cluster until now, by address. Called with mu held.
func (u *Upstream) were(id mesh.ClusterID) map[netip.AddrPort]*mesh.Host {
	b, ok := u.built[id]
	if !ok {
		return nil
	}
	all := make(map[netip.AddrPort]*mesh.Host, len(b.set.All))
	for _, h := range b.set.All {
		all[h.Address] = h
	}
	return all
}

// sameHost says whether what was found out about a host is true of another one at its address: not if that has another name or
// stands elsewhere; weight, priority and health may differ (Envoy: BaseDynamicClusterImpl::updateDynamicHostList).
func sameHost(a, b *mesh.Host) bool { return a.Hostname == b.Hostname && a.Locality == b.Locality }

// replace forgets what was found out about the host that was there, if this is another one. Called with mu held.
func (u *Upstream) replace(id mesh.ClusterID, was, h *mesh.Host) {
	if was == nil || sameHost(was, h) {
		return
	}
	key := hostKey{id, h.Address}
	if k := u.checkers[id]; k != nil {
		u.dismiss(k, key)
	}
	if d := u.detectors[id]; d != nil && u.marks[key]&mesh.FailedOutlierCheck != 0 {
		d.count(-1)
	}
	delete(u.marks, key)
}

// mark is Mark for a host. Called with mu held.
func (u *Upstream) mark(k hostKey, set, clear mesh.Flags) bool {
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
func (u *Upstream) member(k hostKey) bool {
	b, ok := u.built[k.cluster]
	return ok && slices.ContainsFunc(b.set.All, func(h *mesh.Host) bool { return h.Address == k.host })
}

// forget drops the flags of hosts that have left. Called with mu held.
func (u *Upstream) forget() {
	for k := range u.marks {
		if !u.member(k) {
			delete(u.marks, k)
		}
	}
}
