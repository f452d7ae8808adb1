// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
)

// index turns ids into words and words into ids: those of the newest tables, and those that have gone but still have
// connections or counters. It changes by the rows whose pointers changed, not by the size of the tables.
type index struct {
	mu   sync.RWMutex
	last *table.Tables

	listeners map[uint32]*table.Listener
	clusters  map[uint32]*table.Cluster
	endpoints map[uint32]netip.AddrPort
	clusterID map[mesh.ClusterID]uint32
	hostID    map[hostKey]uint32
	gone      goneIDs
}

type hostKey struct {
	cluster mesh.ClusterID
	addr    netip.AddrPort
}

// goneIDs are in no table any more and must not be given to something else yet.
type goneIDs struct {
	listeners, clusters, endpoints map[uint32]bool
}

func newGoneIDs() goneIDs {
	return goneIDs{map[uint32]bool{}, map[uint32]bool{}, map[uint32]bool{}}
}

func (g *goneIDs) empty() bool { return len(g.listeners)+len(g.clusters)+len(g.endpoints) == 0 }

func newIndex() *index {
	return &index{last: &table.Tables{}, listeners: map[uint32]*table.Listener{}, clusters: map[uint32]*table.Cluster{},
		endpoints: map[uint32]netip.AddrPort{}, clusterID: map[mesh.ClusterID]uint32{}, hostID: map[hostKey]uint32{},
		gone: newGoneIDs()}
}

// take makes t the newest tables.
func (x *index) take(t *table.Tables) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if t == x.last {
		return
	}
	x.takeListeners(t)
	x.takeClusters(t)
	x.last = t
}

func (x *index) takeListeners(t *table.Tables) {
	now := make(map[uint32]bool, len(t.Listeners))
	for _, l := range t.Listeners {
		now[l.ID] = true
		x.listeners[l.ID] = l
		delete(x.gone.listeners, l.ID)
	}
	for _, l := range x.last.Listeners {
		if !now[l.ID] {
			x.gone.listeners[l.ID] = true
		}
	}
}

func (x *index) takeClusters(t *table.Tables) {
	now := make(map[uint32]*table.Cluster, len(t.Clusters))
	for _, c := range t.Clusters {
		now[c.ID] = c
	}
	for _, c := range x.last.Clusters {
		if now[c.ID] == c {
			continue
		}
		for _, s := range c.Slots {
			x.gone.endpoints[s.Endpoint] = true // those that stay are taken back below
			delete(x.hostID, hostKey{c.Cluster, s.Address})
		}
		if now[c.ID] == nil {
			x.gone.clusters[c.ID] = true
			delete(x.clusterID, c.Cluster)
		}
	}
	for _, c := range t.Clusters {
		if x.clusters[c.ID] == c && !x.gone.clusters[c.ID] {
			continue
		}
		x.clusters[c.ID] = c
		x.clusterID[c.Cluster] = c.ID
		delete(x.gone.clusters, c.ID)
		for _, s := range c.Slots {
			x.endpoints[s.Endpoint] = s.Address
			x.hostID[hostKey{c.Cluster, s.Address}] = s.Endpoint
			delete(x.gone.endpoints, s.Endpoint)
		}
	}
}

// found adds ids that an earlier agent left in the kernel; take removes those that its tables use.
func (x *index) found(listeners, clusters, endpoints []uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range listeners {
		x.gone.listeners[id] = true
	}
	for _, id := range clusters {
		x.gone.clusters[id] = true
	}
	for _, id := range endpoints {
		x.gone.endpoints[id] = true
	}
}

// hasGone reports whether any id waits for being forgotten.
func (x *index) hasGone() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return !x.gone.empty()
}

// idle returns at most limit ids of each kind that have gone, are not in used and whose word is 0.
func (x *index) idle(used goneIDs, w *words, limit int) goneIDs {
	x.mu.RLock()
	defer x.mu.RUnlock()
	some := newGoneIDs()
	choose := func(gone, used, to map[uint32]bool, word func(uint32) *atomic.Int64) {
		for id := range gone {
			if len(to) < limit && !used[id] && (word == nil || word(id).Load() == 0) {
				to[id] = true
			}
		}
	}
	choose(x.gone.listeners, used.listeners, some.listeners, nil)
	choose(x.gone.clusters, used.clusters, some.clusters, w.cluster)
	choose(x.gone.endpoints, used.endpoints, some.endpoints, w.endpoint)
	return some
}

// forget drops ids; from now on they may be given out again.
func (x *index) forget(ids goneIDs) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id := range ids.listeners {
		delete(x.gone.listeners, id)
		delete(x.listeners, id)
	}
	for id := range ids.clusters {
		delete(x.gone.clusters, id)
		delete(x.clusters, id)
	}
	for id := range ids.endpoints {
		delete(x.gone.endpoints, id)
		delete(x.endpoints, id)
	}
}

func (x *index) isGone(of func(*goneIDs) map[uint32]bool, id uint32) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return of(&x.gone)[id]
}

// listener, cluster and endpoint name an id; ok is false for one that is not known (left by an earlier agent).
func (x *index) listener(id uint32) (l *table.Listener, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, ok = x.listeners[id]
	return l, ok
}

func (x *index) cluster(id uint32) (c *table.Cluster, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c, ok = x.clusters[id]
	return c, ok
}

func (x *index) endpoint(id uint32) (netip.AddrPort, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	a, ok := x.endpoints[id]
	return a, ok
}

// clusterWord finds a cluster's word in shared memory; nil if it has no id.
func (x *index) clusterWord(w *words, c mesh.ClusterID) *atomic.Int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if id, ok := x.clusterID[c]; ok {
		return w.cluster(id)
	}
	return nil
}

func (x *index) endpointWord(w *words, k hostKey) *atomic.Int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if id, ok := x.hostID[k]; ok {
		return w.endpoint(id)
	}
	return nil
}
