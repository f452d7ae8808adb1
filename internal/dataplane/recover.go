// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"sort"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
)

// Recovered reads back which ids an earlier agent gave out, so that Compile keeps them: listeners by scope, address and
// bound; clusters of cfg by name; endpoints by cluster and address. nil: the pins are new.
func (d *Dataplane) Recovered(cfg *mesh.Config) (*table.Tables, error) {
	if d.fresh {
		return nil, nil
	}
	t := &table.Tables{}
	if err := d.recoverScopes(t); err != nil {
		return nil, err
	}
	if err := d.recoverListeners(t); err != nil {
		return nil, err
	}
	if err := d.recoverClusters(t, cfg); err != nil {
		return nil, err
	}
	return t, nil
}

// recoverScopes finds the paths of the pinned cgroup ids.
func (d *Dataplane) recoverScopes(t *table.Tables) error {
	ids := map[uint64]uint32{}
	var cgroup uint64
	var scope uint32
	it := d.objs.Scopes.Iterate()
	for it.Next(&cgroup, &scope) {
		ids[cgroup] = scope
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read the pinned scopes: %w", err)
	}
	// Folders that vanish meanwhile are no scopes any more.
	_ = filepath.WalkDir(d.o.CgroupRoot, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		if len(ids) == 0 {
			return filepath.SkipAll
		}
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			return nil
		}
		if scope, ok := ids[st.Ino]; ok {
			rel, err := filepath.Rel(d.o.CgroupRoot, path)
			if err != nil {
				return nil
			}
			t.Scopes = append(t.Scopes, &table.Scope{ID: scope, Cgroup: filepath.Clean("/" + rel)})
			delete(ids, st.Ino)
		}
		return nil
	})
	sort.Slice(t.Scopes, func(i, j int) bool { return t.Scopes[i].ID < t.Scopes[j].ID })
	return nil
}

func (d *Dataplane) recoverListeners(t *table.Tables) error {
	var k kern.CListenerKey
	var id uint32
	it := d.objs.Listeners.Iterate()
	for it.Next(&k, &id) {
		t.Listeners = append(t.Listeners, &table.Listener{ID: id, Scope: k.Scope, Bound: k.Netns != 0,
			Address: netip.AddrPortFrom(fromAddr16(k.Addr), k.Port)})
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read the pinned listeners: %w", err)
	}
	sort.Slice(t.Listeners, func(i, j int) bool { return t.Listeners[i].ID < t.Listeners[j].ID })
	return nil
}

func (d *Dataplane) recoverClusters(t *table.Tables, cfg *mesh.Config) error {
	known := map[kern.CClusterName]mesh.ClusterID{}
	for _, sc := range cfg.Scopes {
		for _, c := range sc.Clusters {
			id := mesh.ClusterID{Scope: sc.Cgroup, Name: c.Name}
			known[nameOf(id)] = id
		}
	}
	names, err := marked[kern.CClusterName](d.objs.ClusterNames)
	if err != nil {
		return err
	}
	for id, name := range names {
		if _, ok := known[name]; !ok {
			delete(names, id) // gone from the configuration; Apply removes its row
		}
	}
	rows, err := innerIDs(d.objs.Clusters, ids(names))
	if err != nil {
		return err
	}
	for id, inner := range rows {
		slots, err := recoverSlots(inner)
		if err != nil {
			return err
		}
		t.Clusters = append(t.Clusters, &table.Cluster{ID: id, Cluster: known[names[id]], Slots: slots})
	}
	sort.Slice(t.Clusters, func(i, j int) bool { return t.Clusters[i].ID < t.Clusters[j].ID })
	return nil
}

func recoverSlots(id ebpf.MapID) ([]table.Slot, error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return nil, fmt.Errorf("open a pinned row: %w", err)
	}
	defer m.Close()
	var slots []table.Slot
	for i := uint32(1); i < m.MaxEntries(); i++ {
		raw, err := m.LookupBytes(i)
		if err != nil {
			return nil, fmt.Errorf("read a pinned row: %w", err)
		}
		var s kern.CClusterSlot
		if _, err := binary.Decode(raw, binary.NativeEndian, &s); err != nil {
			return nil, fmt.Errorf("read a pinned row: %w", err)
		}
		slots = append(slots, table.Slot{Endpoint: s.Endpoint, Address: netip.AddrPortFrom(fromAddr16(s.Addr), s.Port)})
	}
	return slots, nil
}
