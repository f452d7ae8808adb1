// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

const (
	maxLevel   = 31         // LENO_MAX_LEVEL of bpf/lookup.h
	allLevels  = ^uint32(0) // a bit for each
	rootCgroup = 1          // number of the hierarchy's true root
)

// scopeRows is what the kernel half knows the scopes by.
type scopeRows struct {
	cgroups map[string]uint64 // path -> number; those that exist
	scopes  map[uint64]uint32 // number -> scope id
	levels  uint32            // settings.levels
}

// resolve looks the scopes' cgroups up. Those that do not exist are left out and joined in missing; err is for what leno
// cannot manage at all.
func (d *Dataplane) resolve(scopes []*table.Scope) (rows scopeRows, missing, err error) {
	if limit := d.objs.Scopes.MaxEntries(); uint32(len(scopes)) > limit {
		return rows, nil, fmt.Errorf("%d scopes do not fit: the limit is %d; give fewer --scope", len(scopes), limit)
	}
	rows = scopeRows{cgroups: map[string]uint64{}, scopes: map[uint64]uint32{}}
	root, err := d.cgroupID("/")
	if err != nil {
		return rows, nil, err
	}
	for _, s := range scopes {
		depth := len(ancestors(s.Cgroup)) - 1
		if depth > maxLevel {
			return rows, nil, fmt.Errorf("cgroup %s lies %d levels deep: leno manages at most %d", s.Cgroup, depth, maxLevel)
		}
		id, err := d.cgroupID(s.Cgroup)
		if err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		rows.cgroups[s.Cgroup] = id
		rows.scopes[id] = s.ID
		rows.levels |= 1 << depth
	}
	if root != rootCgroup {
		// What we see as the root lies somewhere below it (a cgroup namespace, a bind mount): how deep is not known.
		rows.levels = allLevels
	}
	return rows, missing, nil
}

// writeScopes brings the scopes into the kernel.
func (d *Dataplane) writeScopes(rows scopeRows) error {
	for id, scope := range rows.scopes {
		if err := d.objs.Scopes.Update(id, scope, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("write a scope: %w", err)
		}
	}
	if err := d.writeSettings(func(s *kern.CSettings) { s.Levels = rows.levels }); err != nil {
		return err
	}
	var id uint64
	var scope uint32
	var gone []uint64
	for it := d.objs.Scopes.Iterate(); it.Next(&id, &scope); {
		if _, ok := rows.scopes[id]; !ok {
			gone = append(gone, id)
		}
	}
	for _, id := range gone {
		if err := d.objs.Scopes.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove a scope: %w", err)
		}
	}
	return nil
}

// cgroupID is the number that the kernel knows the cgroup by: the inode of its folder.
func (d *Dataplane) cgroupID(cgroup string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(d.o.CgroupRoot, cgroup), &st); err != nil {
		return 0, fmt.Errorf("cgroup %s does not exist below %s: create it, or choose another with --cgroup: %w", cgroup, d.o.CgroupRoot, err)
	}
	return st.Ino, nil
}

// watchCgroups attaches again to a cgroup that was removed and made again, as service managers and container engines do:
// its programs went with the old one.
func (d *Dataplane) watchCgroups(ctx context.Context) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch cgroups: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	changed, ended := make(chan struct{}, 1), make(chan struct{})
	defer func() { f.Close(); <-ended }()
	go func() {
		defer close(ended)
		buf := make([]byte, 64<<10)
		for {
			if _, err := f.Read(buf); err != nil {
				return // closed
			}
			select {
			case changed <- struct{}{}:
			default: // a look is due already
			}
		}
	}()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		d.checkCgroups(fd)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C: // new scopes, and what inotify missed
		}
	}
}

// checkCgroups compares the cgroups that exist with those that are attached, and watches for the next change.
func (d *Dataplane) checkCgroups(inotify int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.applied == nil || d.torn {
		return // Apply does it all
	}
	for _, cgroup := range outermost(d.applied.Scopes) {
		above := ancestors(cgroup)
		for _, dir := range above[:len(above)-1] {
			// A folder that is missing appears in the one above, which is watched.
			_, _ = unix.InotifyAddWatch(inotify, filepath.Join(d.o.CgroupRoot, dir), unix.IN_CREATE|unix.IN_DELETE|unix.IN_ONLYDIR)
		}
	}
	rows, missing, err := d.resolve(d.applied.Scopes)
	if err == nil && !maps.Equal(rows.scopes, d.scopes.scopes) {
		if err = d.enterScopes(d.applied.Scopes, rows); err == nil {
			d.o.Log.Info("cgroups changed", "attached", strings.Join(slices.Sorted(maps.Keys(rows.cgroups)), " "))
		}
	}
	d.noteMissing("cgroups", errors.Join(missing, err))
}

// enterScopes makes the scopes known and attaches to their cgroups.
func (d *Dataplane) enterScopes(scopes []*table.Scope, rows scopeRows) error {
	if err := d.writeScopes(rows); err != nil {
		return err
	}
	if err := d.attach(scopes, rows); err != nil {
		return err
	}
	d.scopes = rows
	return nil
}
