// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

// Apply brings the whole desired state into the kernel. Rows whose pointer did not change since the last Apply are
// skipped. Leaves are written before what leads to them and removed after it, so no connect meets a dangling id. The
// error names the limit when something does not fit; then nothing was changed.
func (d *Dataplane) Apply(t *table.Tables) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t == d.applied {
		return nil
	}
	if err := d.checkCapacity(t); err != nil {
		return err
	}
	before := d.applied
	if before == nil {
		before = &table.Tables{}
	}
	d.words.reserve(t)
	if err := d.writeClusters(before, t); err != nil {
		return err
	}
	if err := d.writeTargets(before, t); err != nil {
		return err
	}
	if err := d.writeListeners(t); err != nil {
		return err
	}
	if err := d.removeRows(t); err != nil {
		return err
	}
	if err := d.writeScopes(t.Scopes); err != nil {
		return err
	}
	if err := d.attach(t.Scopes); err != nil {
		return err
	}
	d.applied = t
	d.names = newNames(t)
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
	for i, r := range rows {
		if err := m.Update(uint32(i), r, ebpf.UpdateAny); err != nil {
			m.Close()
			return nil, fmt.Errorf("fill a row: %w", err)
		}
	}
	return m, nil
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

// writeListeners makes the map of keys equal to t's. Inserting is last of the adding, deleting first of the removing.
func (d *Dataplane) writeListeners(t *table.Tables) error {
	want := make(map[kern.CListenerKey]uint32, len(t.Listeners))
	for _, l := range t.Listeners {
		want[d.key(l)] = l.ID
	}
	have := make(map[kern.CListenerKey]uint32, len(want))
	var k kern.CListenerKey
	var id uint32
	it := d.objs.Listeners.Iterate()
	for it.Next(&k, &id) {
		have[k] = id
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read the listeners: %w", err)
	}
	for k, id := range have {
		if want[k] == id {
			continue
		}
		if err := d.objs.Listeners.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove a listener: %w", err)
		}
		delete(have, k)
	}
	for k, id := range want {
		if have[k] == id {
			continue
		}
		if err := d.objs.Listeners.Update(&k, id, ebpf.UpdateNoExist); err != nil {
			return fmt.Errorf("write a listener (raise --max-listeners if the map is full): %w", err)
		}
	}
	return nil
}

// removeRows drops the targets and clusters that nothing leads to any more, those of earlier agents included.
func (d *Dataplane) removeRows(t *table.Tables) error {
	targets := make(map[uint32]bool, len(t.Listeners))
	for _, l := range t.Listeners {
		targets[l.ID] = true
	}
	clusters := make(map[uint32]bool, len(t.Clusters))
	for _, c := range t.Clusters {
		clusters[c.ID] = true
	}
	if err := removeInner(d.objs.Targets, targets); err != nil {
		return err
	}
	return removeInner(d.objs.Clusters, clusters)
}

func removeInner(outer *ebpf.Map, keep map[uint32]bool) error {
	ids, err := innerIDs(outer)
	if err != nil {
		return err
	}
	for id := range ids {
		if keep[id] {
			continue
		}
		if err := outer.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove a row: %w", err)
		}
	}
	return nil
}

// innerIDs lists the rows of an array of maps: index -> id of the inner map.
func innerIDs(outer *ebpf.Map) (map[uint32]ebpf.MapID, error) {
	all := map[uint32]ebpf.MapID{}
	keys := make([]uint32, 4096)
	values := make([]uint32, 4096)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := outer.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			if values[i] != 0 {
				all[keys[i]] = ebpf.MapID(values[i])
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("list rows: %w", err)
		}
	}
}
