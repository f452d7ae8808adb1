// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

const (
	// tidyAtOnce bounds how many ids of a kind one round forgets: Apply waits for it.
	tidyAtOnce = 128
	// tidyParallel deletions share the kernel's waits for its readers (one is some milliseconds, kernel/bpf/syscall.c,
	// maybe_wait_bpf_programs; arrays of maps have no batched delete).
	tidyParallel = 32
)

// tidy removes the rows and counters of ids that have gone and have no open connection; then the ids are free.
func (d *Dataplane) tidy() {
	if !d.index.hasGone() {
		return
	}
	used, rows := d.used()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.applied == nil || d.torn {
		return // which ids have gone is known only when the kernel holds the newest tables
	}
	idle := d.index.idle(used, d.words, tidyAtOnce)
	if idle.empty() {
		return
	}
	errs := append(deleteRows(d.objs.Targets, idle.listeners), deleteRows(d.objs.Clusters, idle.clusters)...)
	for _, k := range rows {
		if idle.listeners[k.Listener] || idle.clusters[k.Cluster] || idle.endpoints[k.Endpoint] {
			if err := d.objs.Flows.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, fmt.Errorf("remove counters: %w", err))
			}
		}
	}
	if errs != nil {
		d.o.Log.Warn("rows that nothing uses stay in the kernel; leno tries again", "err", errors.Join(errs...))
		return
	}
	d.index.forget(idle)
}

// used lists the ids with open connections, and all rows of counters.
func (d *Dataplane) used() (goneIDs, []kern.CFlowKey) {
	ids := newGoneIDs()
	var rows []kern.CFlowKey
	d.eachFlow(func(k kern.CFlowKey, f *kern.CFlow) {
		if k == (kern.CFlowKey{}) {
			return // always there
		}
		rows = append(rows, k)
		if active(f) > 0 {
			ids.listeners[k.Listener], ids.clusters[k.Cluster], ids.endpoints[k.Endpoint] = true, true, true
		}
	})
	return ids, rows
}

func deleteRows(outer *ebpf.Map, ids map[uint32]bool) (errs []error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, tidyParallel)
	for id := range ids {
		slots <- struct{}{}
		all.Go(func() {
			if err := outer.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				mu.Lock()
				errs = append(errs, fmt.Errorf("remove a row: %w", err))
				mu.Unlock()
			}
			<-slots
		})
	}
	all.Wait()
	return errs
}

// busy answers table.Busy: an id is taken as long as it has connections, or rows that were not tidied away yet.
type busy struct{ d *Dataplane }

// Busy says which ids may not be given to something new.
func (d *Dataplane) Busy() table.Busy { return busy{d} }

func (b busy) Listener(id uint32) bool {
	return b.d.index.isGone(func(g *goneIDs) map[uint32]bool { return g.listeners }, id)
}

func (b busy) Cluster(id uint32) bool {
	return b.d.index.isGone(func(g *goneIDs) map[uint32]bool { return g.clusters }, id) ||
		id < b.d.objs.ClusterActive.MaxEntries() && b.d.words.cluster(id).Load() != 0
}

func (b busy) Endpoint(id uint32) bool {
	return b.d.index.isGone(func(g *goneIDs) map[uint32]bool { return g.endpoints }, id) ||
		id < b.d.objs.EndpointActive.MaxEntries() && b.d.words.endpoint(id).Load() != 0
}

// findLeft learns which ids an earlier agent left in the kernel, and corrects the words of what is in flight: what its
// proxy carried ended with it, and was not subtracted.
func (d *Dataplane) findLeft() error {
	targets, err := innerIDs(d.objs.Targets)
	if err != nil {
		return err
	}
	clusters, err := innerIDs(d.objs.Clusters)
	if err != nil {
		return err
	}
	byCluster, byEndpoint, byListener := map[uint32][]kern.CFlowKey{}, map[uint32][]kern.CFlowKey{}, map[uint32][]kern.CFlowKey{}
	d.eachFlow(func(k kern.CFlowKey, _ *kern.CFlow) {
		if k == (kern.CFlowKey{}) {
			return
		}
		byListener[k.Listener] = append(byListener[k.Listener], k)
		byCluster[k.Cluster] = append(byCluster[k.Cluster], k)
		byEndpoint[k.Endpoint] = append(byEndpoint[k.Endpoint], k)
	})
	d.index.found(append(ids(targets), ids(byListener)...), append(ids(clusters), ids(byCluster)...), ids(byEndpoint))
	for id := range d.objs.ClusterActive.MaxEntries() {
		d.correct(d.words.cluster(id), byCluster[id])
	}
	for id := range d.objs.EndpointActive.MaxEntries() {
		d.correct(d.words.endpoint(id), byEndpoint[id])
	}
	return nil
}

func ids[V any](m map[uint32]V) []uint32 {
	all := make([]uint32, 0, len(m))
	for id := range m {
		all = append(all, id)
	}
	return all
}

// correct makes a word equal to the open connections of its counters. Both change while we look: the difference is only
// believed if the counters stood still around the reading of the word.
func (d *Dataplane) correct(word *atomic.Int64, rows []kern.CFlowKey) {
	if word.Load() == 0 && len(rows) == 0 {
		return
	}
	open, before := d.open(rows)
	for range 1000 {
		now := word.Load()
		again, after := d.open(rows)
		if before == after {
			word.Add(open - now)
			return
		}
		open, before = again, after
	}
	d.o.Log.Warn("a cluster is too busy to correct the number of its open connections; it may stay too high")
}

// open sums the open connections of rows; moves changes with every one that begins or ends.
func (d *Dataplane) open(rows []kern.CFlowKey) (open int64, moves uint64) {
	for i := range rows {
		var f kern.CFlow
		if d.objs.Flows.Lookup(&rows[i], &f) != nil {
			continue // gone: counts nothing
		}
		open += int64(active(&f))
		moves += f.Attempted + f.Closed + failures(&f)
	}
	return open, moves
}
