// SPDX-License-Identifier: Apache-2.0

// Package dataplane is the only one that talks to the kernel: it loads, pins
// and attaches the programs of bpf/, brings compiled tables into their maps,
// opens the agent's listening sockets in other network namespaces and reads
// the counters. It decides nothing about traffic (package table does) and
// carries none (package proxy does).
package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

// DefaultPinDir is where maps and links are pinned unless Options.PinDir says otherwise.
const DefaultPinDir = "/sys/fs/bpf/leno"

// ErrInUse: another agent holds the pins.
var ErrInUse = errors.New("another agent holds the pins")

// Options of the kernel half. The zero value works.
type Options struct {
	// PinDir is a folder below a bpffs mount; default DefaultPinDir. A bpffs is mounted at /sys/fs/bpf if none is there.
	PinDir string
	// CgroupRoot is the cgroup2 mount; empty: detected.
	CgroupRoot string
	// Sizes of the maps; 0: the defaults of bpf/maps.h. They take effect when the maps are made, not on taken-over pins.
	MaxListeners, MaxClusters, MaxEndpoints, MaxFlows, MaxParked uint32
	// Log is required.
	Log *slog.Logger
}

// Dataplane is the opened kernel half. Methods are safe for concurrent use, but Apply is meant for one caller.
type Dataplane struct {
	o      Options
	lock   *os.File // flock on the pin folder: one agent at a time
	objs   kern.CObjects
	words  *words
	index  *index
	netns  uint64 // cookie of the agent's namespace
	fresh  bool   // the pins were made by this agent
	parked chan Parking
	rescan chan struct{} // capacity 1: look for namespaces now

	settingsMu sync.Mutex // held for reading, changing and writing the row of settings

	mu       sync.Mutex
	applied  *table.Tables // what the maps hold; nil before the first Apply
	torn     bool          // the last Apply stopped half-way: the next writes everything
	attached []attachment
	scopes   scopeRows // what the kernel knows
	counted  bool      // the connections that were open before
	parks    map[parkKey]*parkSocket
	askers   map[int]bool      // processes that were refused because their namespace was not known
	missing  map[string]string // what is not in force, by topic, in sentences
}

// Open loads the kernel half, or takes over what an earlier agent left pinned. Nothing is attached before the first
// Apply. The error is a sentence that says what is missing; it wraps ErrInUse when another agent is alive.
func Open(o Options) (*Dataplane, error) {
	if o.PinDir == "" {
		o.PinDir = DefaultPinDir
	}
	if err := checkSystem(&o); err != nil {
		return nil, err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("lift the limit of locked memory: %w", err)
	}
	lock, err := lockDir(o.PinDir)
	if err != nil {
		return nil, err
	}
	d := &Dataplane{o: o, lock: lock, parked: make(chan Parking), rescan: make(chan struct{}, 1),
		index: newIndex(), parks: map[parkKey]*parkSocket{}, askers: map[int]bool{}}
	if err := d.load(); err != nil {
		if d.fresh {
			err = errors.Join(err, unpin(o.PinDir)) // no half-made maps for the next start
		}
		lock.Close()
		return nil, err
	}
	return d, nil
}

// lockDir makes the pin folder and takes its lock.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Join(dir, "maps"), 0o700); err != nil {
		return nil, fmt.Errorf("make the pin folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "links"), 0o700); err != nil {
		return nil, fmt.Errorf("make the pin folder: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the pin folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w in %s: stop it first (leno down), or give this one its own --pin-dir", ErrInUse, dir)
		}
		return nil, fmt.Errorf("lock the pin folder: %w", err)
	}
	return f, nil
}

// load brings programs and maps into the kernel; maps that are pinned already are reused.
func (d *Dataplane) load() (err error) {
	spec, err := kern.LoadC()
	if err != nil {
		return fmt.Errorf("read the kernel half: %w", err)
	}
	maps := filepath.Join(d.o.PinDir, "maps")
	if err := checkLayout(maps); err != nil {
		return err
	}
	_, statErr := os.Stat(filepath.Join(maps, "settings"))
	d.fresh = statErr != nil
	d.size(spec, maps)
	err = spec.LoadAndAssign(&d.objs, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: maps}})
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("the maps pinned in %s were made by another version: run that version's `leno down` first: %w", maps, err)
	} else if errors.Is(err, unix.ENOMEM) {
		return fmt.Errorf("no memory for the kernel's maps: raise the memory limit of the agent's cgroup (systemd: MemoryMax=), "+
			"or make the maps smaller by --max-listeners, --max-clusters, --max-endpoints and --max-flows: %w", err)
	} else if err != nil {
		return explainLoad(err)
	}
	defer func() {
		if err != nil {
			d.objs.Close()
		}
	}()
	if d.words, err = mapWords(&d.objs.CMaps, d.index); err != nil {
		return err
	}
	if !d.fresh {
		if err := d.findLeft(); err != nil {
			return err
		}
	}
	return d.introduce()
}

// size applies the flags to maps that do not exist yet, and takes the size of those that do.
func (d *Dataplane) size(spec *ebpf.CollectionSpec, maps string) {
	want := map[string]uint32{
		"listeners": d.o.MaxListeners, "targets": d.o.MaxListeners, "target_ids": d.o.MaxListeners,
		"clusters": d.o.MaxClusters, "cluster_names": d.o.MaxClusters, "ring_pos": d.o.MaxClusters, "cluster_active": d.o.MaxClusters,
		"endpoint_active": d.o.MaxEndpoints, "flows": d.o.MaxFlows, "parks": d.o.MaxParked,
	}
	for name, m := range spec.Maps {
		if strings.HasPrefix(name, ".") {
			continue // the compiler's own sections belong to one load
		}
		m.Pinning = ebpf.PinByName
		if want[name] != 0 {
			m.MaxEntries = want[name]
		}
		if old, err := ebpf.LoadPinnedMap(filepath.Join(maps, name), nil); err == nil {
			if want[name] != 0 && want[name] != old.MaxEntries() {
				d.o.Log.Warn("a changed map size takes effect after `leno down`", "map", name, "size", old.MaxEntries())
			}
			m.MaxEntries = old.MaxEntries()
			old.Close()
		}
	}
}

// checkLayout refuses pins whose words mean something else.
func checkLayout(maps string) error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(maps, "settings"), nil)
	if err != nil {
		return nil // nothing is pinned yet
	}
	defer m.Close()
	var s kern.CSettings
	if m.ValueSize() == uint32(settingsSize) {
		if err := m.Lookup(uint32(0), &s); err != nil {
			return fmt.Errorf("read the pinned settings: %w", err)
		}
		if s.Layout == layout || s.Layout == 0 {
			return nil
		}
	}
	return fmt.Errorf("the pins in %s have layout %d, this binary has %d: run `leno down`, then start again",
		filepath.Dir(maps), s.Layout, layout)
}

// Close lets go of the kernel half; what is pinned stays in force.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.parks {
		p.close()
	}
	d.parks = nil
	for _, a := range d.attached {
		a.close()
	}
	d.attached = nil
	return errors.Join(d.objs.Close(), d.lock.Close())
}

// Remove detaches and unpins everything below pinDir ("" is DefaultPinDir). It refuses while an agent is alive.
func Remove(pinDir string) error {
	if pinDir == "" {
		pinDir = DefaultPinDir
	}
	if _, err := os.Stat(pinDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(pinDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Links first: nothing may be attached without its pins.
	if err := detach(filepath.Join(pinDir, "links"), func(string) bool { return true }); err != nil {
		return err
	}
	return unpin(pinDir)
}

// unpin removes the pin folder. Nothing may be attached.
func unpin(pinDir string) error {
	for _, sub := range []string{"links", "maps"} {
		if err := os.RemoveAll(filepath.Join(pinDir, sub)); err != nil {
			return fmt.Errorf("unpin: %w", err)
		}
	}
	if err := os.Remove(pinDir); err != nil {
		return fmt.Errorf("remove the pin folder: %w", err)
	}
	return nil
}
