// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

// Apply brings the whole desired state into the kernel. Rows whose pointer did not change since the last Apply are
// skipped. Leaves are written before what leads to them; rows that nothing leads to any more are removed later, when
// their connections have ended (tidy). So no connect meets a dangling id, and statistics keep their names. The error
// names the limit when something does not fit; then nothing was changed.
func (d *Dataplane) Apply(t *table.Tables) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t == d.applied {
		return nil
	}
	if err := d.checkCapacity(t); err != nil {
		return err
	}
	rows, missing, err := d.resolve(t.Scopes)
	if err != nil {
		return err
	}
	if missing != nil && d.applied == nil {
		return missing // later it may come back, and must not keep the others from their configuration
	}
	before := d.applied
	if before == nil || d.torn {
		before = &table.Tables{}
	}
	d.index.take(t)
	d.torn = true
	if err := d.writeClusters(before, t); err != nil {
		return err
	}
	if err := d.writeTargets(before, t); err != nil {
		return err
	}
	if err := d.writeListeners(t); err != nil {
		return err
	}
	if d.fresh && !d.counted {
		d.counted = true
		d.noteMissing("connections of before", d.countBefore(t, rows))
	}
	if err := d.enterScopes(t.Scopes, rows); err != nil {
		return err
	}
	d.noteMissing("cgroups", missing)
	d.torn = false
	d.applied = t
	select {
	case d.rescan <- struct{}{}:
	default: // a look is due already
	}
	return nil
}

// limit is one map's bound and the flag that raises it.
type limit struct {
	what string
	used uint32
	max  uint32
	flag string
}

func (d *Dataplane) limits(t *table.Tables) []limit {
	l := []limit{
		{"listener", 0, d.objs.Targets.MaxEntries(), "--max-listeners"},
		{"cluster", 0, d.objs.Clusters.MaxEntries(), "--max-clusters"},
		{"endpoint", 0, d.objs.EndpointActive.MaxEntries(), "--max-endpoints"},
	}
	for _, r := range t.Listeners {
		l[0].used = max(l[0].used, r.ID)
	}
	for _, c := range t.Clusters {
		l[1].used = max(l[1].used, c.ID)
		for _, s := range c.Slots {
			l[2].used = max(l[2].used, s.Endpoint)
		}
	}
	return l
}

// checkCapacity holds the ids against the arrays that they index, and the rows against what the C half can walk.
func (d *Dataplane) checkCapacity(t *table.Tables) error {
	for _, l := range d.limits(t) {
		if l.used >= l.max {
			return fmt.Errorf("%s id %d does not fit: the limit is %d; raise it with %s (takes effect after `leno down`)",
				l.what, l.used, l.max-1, l.flag)
		}
	}
	return nil
}

// innerMap makes one row of an array of maps.
func innerMap(size int, rows [][]byte) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size),
		MaxEntries: uint32(len(rows)), Flags: unix.BPF_F_INNER_MAP})
	if err != nil {
		return nil, fmt.Errorf("make a row: %w", err)
	}
	keys := make([]uint32, len(rows))
	for i := range keys {
		keys[i] = uint32(i)
	}
	// One call for all entries: the library wants a slice whose members have the entries' size.
	if size == targetSize {
		_, err = m.BatchUpdate(keys, fixed[[targetSize]byte](rows), nil)
	} else {
		_, err = m.BatchUpdate(keys, fixed[[clusterSize]byte](rows), nil)
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("fill a row: %w", err)
	}
	return m, nil
}

func fixed[T [targetSize]byte | [clusterSize]byte](rows [][]byte) []T {
	all := make([]T, len(rows))
	for i, r := range rows {
		all[i] = T(r)
	}
	return all
}

// rowBatch collects new rows of an array of maps, so that many cost one wait for the kernel's readers and not one each.
type rowBatch struct {
	outer *ebpf.Map
	size  int
	ids   []uint32
	fds   []uint32
	maps  []*ebpf.Map
}

// maxBatch bounds the descriptors that are open at once.
const maxBatch = 256

func (b *rowBatch) add(id uint32, rows [][]byte) error {
	m, err := innerMap(b.size, rows)
	if err != nil {
		return err
	}
	b.ids, b.fds, b.maps = append(b.ids, id), append(b.fds, uint32(m.FD())), append(b.maps, m)
	if len(b.ids) < maxBatch {
		return nil
	}
	return b.flush()
}

func (b *rowBatch) flush() error {
	if len(b.ids) == 0 {
		return nil
	}
	_, err := b.outer.BatchUpdate(b.ids, b.fds, nil)
	for _, m := range b.maps {
		m.Close()
	}
	b.ids, b.fds, b.maps = nil, nil, nil
	if err != nil {
		return fmt.Errorf("publish rows: %w", err)
	}
	return nil
}

func (d *Dataplane) writeClusters(before, t *table.Tables) error {
	old := make(map[uint32]*table.Cluster, len(before.Clusters))
	for _, c := range before.Clusters {
		old[c.ID] = c
	}
	b := rowBatch{outer: d.objs.Clusters, size: clusterSize}
	for _, c := range t.Clusters {
		if old[c.ID] == c {
			continue
		}
		name := nameOf(c.Cluster)
		if err := d.objs.ClusterNames.Update(c.ID, &name, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("name cluster %s: %w", c.Cluster.Name, err)
		}
		if err := b.add(c.ID, clusterRows(c)); err != nil {
			return fmt.Errorf("cluster %s: %w", c.Cluster.Name, err)
		}
	}
	return b.flush()
}

func (d *Dataplane) writeTargets(before, t *table.Tables) error {
	old := make(map[uint32]*table.Listener, len(before.Listeners))
	for _, l := range before.Listeners {
		old[l.ID] = l
	}
	var fresh []uint32
	for _, l := range t.Listeners {
		if old[l.ID] == nil {
			fresh = append(fresh, l.ID)
		}
	}
	// First that there is a row, then the row: who comes after a crash finds it.
	if err := mark(d.objs.TargetIds, fresh, uint32(1)); err != nil {
		return fmt.Errorf("write the ids of listeners: %w", err)
	}
	b := rowBatch{outer: d.objs.Targets, size: targetSize}
	for _, l := range t.Listeners {
		if old[l.ID] == l {
			continue
		}
		if err := b.add(l.ID, d.targetRows(l)); err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
	}
	return b.flush()
}

// writeListeners makes the map of keys equal to t's. A key that gets another id is overwritten in place, so that it is
// owned at every moment; keys are deleted last.
func (d *Dataplane) writeListeners(t *table.Tables) error {
	have, err := d.listenerKeys()
	if err != nil {
		return err
	}
	want := make(map[kern.CListenerKey]uint32, len(t.Listeners))
	for _, l := range t.Listeners {
		want[d.key(l)] = l.ID
	}
	// A full map may have room when the keys that go have gone.
	full, err := d.putKeys(want, have)
	if err != nil {
		return err
	}
	for k := range have {
		if want[k] != 0 {
			continue
		}
		if err := d.objs.Listeners.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove a listener: %w", err)
		}
	}
	if full, err = d.putKeys(full, nil); err != nil {
		return err
	}
	if len(full) > 0 {
		return fmt.Errorf("%d listeners find no room: raise --max-listeners (takes effect after `leno down`)", len(full))
	}
	return nil
}

// putKeys writes the keys of want that differ from have and returns those that found no room.
func (d *Dataplane) putKeys(want, have map[kern.CListenerKey]uint32) (map[kern.CListenerKey]uint32, error) {
	full := map[kern.CListenerKey]uint32{}
	for k, id := range want {
		if have[k] == id {
			continue
		}
		if err := d.objs.Listeners.Update(&k, id, ebpf.UpdateAny); errors.Is(err, unix.E2BIG) {
			full[k] = id
		} else if err != nil {
			return nil, fmt.Errorf("write a listener: %w", err)
		}
	}
	return full, nil
}

// listenerKeys is what the map of keys holds: known since the last Apply, read from the kernel before the first.
func (d *Dataplane) listenerKeys() (map[kern.CListenerKey]uint32, error) {
	have := map[kern.CListenerKey]uint32{}
	if d.applied != nil && !d.torn {
		for _, l := range d.applied.Listeners {
			have[d.key(l)] = l.ID
		}
		return have, nil
	}
	var k kern.CListenerKey
	var id uint32
	it := d.objs.Listeners.Iterate()
	for it.Next(&k, &id) {
		have[k] = id
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read the listeners: %w", err)
	}
	return have, nil
}

// mark writes one value for many ids of an array.
func mark[V any](m *ebpf.Map, ids []uint32, v V) error {
	if len(ids) == 0 {
		return nil
	}
	values := make([]V, len(ids))
	for i := range values {
		values[i] = v
	}
	_, err := m.BatchUpdate(ids, values, nil)
	return err
}

// innerIDs lists the rows of an array of maps that lie at these ids: index -> id of the inner map. Only these, and many at
// once: before Linux 6.8 each look waits for the kernel's readers (kernel/bpf/syscall.c, bpf_map_copy_value).
func innerIDs(outer *ebpf.Map, at []uint32) (map[uint32]ebpf.MapID, error) {
	all := map[uint32]ebpf.MapID{}
	var mu sync.Mutex
	g := errgroup.Group{}
	g.SetLimit(rowsParallel)
	for _, i := range at {
		g.Go(func() error {
			var id uint32
			if err := outer.Lookup(i, &id); errors.Is(err, ebpf.ErrKeyNotExist) {
				return nil
			} else if err != nil {
				return fmt.Errorf("look for a row: %w", err)
			}
			mu.Lock()
			all[i] = ebpf.MapID(id)
			mu.Unlock()
			return nil
		})
	}
	return all, g.Wait()
}

// marked lists the ids of an array whose value is not zero.
func marked[V comparable](m *ebpf.Map) (map[uint32]V, error) {
	const batch = 4096
	all := map[uint32]V{}
	keys, values := make([]uint32, batch), make([]V, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			if values[i] != *new(V) {
				all[keys[i]] = values[i]
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("list ids: %w", err)
		}
	}
}
