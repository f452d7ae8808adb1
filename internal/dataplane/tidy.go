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
	// rowsParallel calls share the kernel's waits for its readers (one is some milliseconds, kernel/bpf/syscall.c,
	// maybe_wait_bpf_programs; arrays of maps have no batched delete).
	rowsParallel = 64
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
	for _, err := range []error{mark(d.objs.TargetIds, ids(idle.listeners), uint32(0)),
		mark(d.objs.ClusterNames, ids(idle.clusters), kern.CClusterName{})} {
		if err != nil {
			errs = append(errs, fmt.Errorf("free ids: %w", err))
		}
	}
	for _, k := range rows {
		if idle.listeners[k.Listener] || idle.clusters[k.Cluster] || idle.endpoints[k.Endpoint] {
			errs = append(errs, d.foldRow(k, idle)...)
		}
	}
	if errs != nil {
		d.o.Log.Warn("rows that nothing uses stay in the kernel; leno tries again", "err", errors.Join(errs...))
		return
	}
	d.index.forget(idle)
}

// foldRow removes a row of counters whose ids have gone. What lives on keeps its sum, in a row that names only that, with
// 0 for the rest: a cluster's total does not shrink when an endpoint goes.
func (d *Dataplane) foldRow(k kern.CFlowKey, idle goneIDs) []error {
	var f, sum kern.CFlow
	if err := d.objs.Flows.LookupAndDelete(&k, &f); errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	} else if err != nil {
		return []error{fmt.Errorf("remove counters: %w", err)}
	}
	k.Endpoint = 0
	if idle.listeners[k.Listener] {
		k.Listener = 0
	}
	if idle.clusters[k.Cluster] {
		k.Cluster = 0
	}
	if k == (kern.CFlowKey{}) {
		return nil
	}
	if err := d.objs.Flows.Lookup(&k, &sum); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return []error{fmt.Errorf("read counters: %w", err)}
	}
	sumFlow(&sum, &f)
	if err := d.objs.Flows.Update(&k, &sum, ebpf.UpdateAny); err != nil {
		return []error{fmt.Errorf("keep counters: %w", err)}
	}
	return nil
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
	slots := make(chan struct{}, rowsParallel)
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
	targets, err := marked[uint32](d.objs.TargetIds)
	if err != nil {
		return err
	}
	clusters, err := marked[kern.CClusterName](d.objs.ClusterNames)
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
	for _, m := range []map[uint32][]kern.CFlowKey{byListener, byCluster, byEndpoint} {
		delete(m, 0) // stands for what has gone (foldRow)
	}
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
