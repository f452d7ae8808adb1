// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

// attachment is one program on one cgroup.
type attachment struct {
	cgroup string // path below the mount
	name   string // of the pin
	link   link.Link
}

func (a attachment) close() { _ = a.link.Close() } // closing a descriptor; the pin keeps the link

// hook is a program and where it is attached.
type hook struct {
	name    string
	attach  ebpf.AttachType
	program *ebpf.Program
}

func (d *Dataplane) hooks() []hook {
	p := &d.objs.CPrograms
	return []hook{
		// sockops first: no connect may be placed that nobody counts.
		{"sockops", ebpf.AttachCGroupSockOps, p.LenoSockops},
		{"getpeername4", ebpf.AttachCgroupInet4GetPeername, p.LenoGetpeername4},
		{"getpeername6", ebpf.AttachCgroupInet6GetPeername, p.LenoGetpeername6},
		{"getsockname4", ebpf.AttachCgroupInet4GetSockname, p.LenoGetsockname4},
		{"getsockname6", ebpf.AttachCgroupInet6GetSockname, p.LenoGetsockname6},
		{"connect4", ebpf.AttachCGroupInet4Connect, p.LenoConnect4},
		{"connect6", ebpf.AttachCGroupInet6Connect, p.LenoConnect6},
	}
}

// outermost lists the cgroups that lie below no other scope: a program there sees the sockets of all inner ones.
func outermost(scopes []*table.Scope) []string {
	var all []string
	for _, s := range scopes {
		inner := slices.ContainsFunc(scopes, func(o *table.Scope) bool {
			return o.Cgroup != s.Cgroup && (o.Cgroup == "/" || strings.HasPrefix(s.Cgroup, o.Cgroup+"/"))
		})
		if !inner {
			all = append(all, s.Cgroup)
		}
	}
	return all
}

// writeScopes brings the scopes into the kernel and returns at which depths they lie.
func (d *Dataplane) writeScopes(scopes []*table.Scope) error {
	want := make(map[uint64]uint32, len(scopes))
	levels := uint32(0)
	for _, s := range scopes {
		id, err := d.cgroupID(s.Cgroup)
		if err != nil {
			return err
		}
		depth := 0
		if s.Cgroup != "/" {
			depth = strings.Count(s.Cgroup, "/")
		}
		if depth > 31 {
			return fmt.Errorf("cgroup %s lies %d levels deep: leno manages at most 31", s.Cgroup, depth)
		}
		want[id] = s.ID
		levels |= 1 << depth
	}
	for id, scope := range want {
		if err := d.objs.Scopes.Update(id, scope, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("write a scope: %w", err)
		}
	}
	if err := d.writeSettings(func(s *kern.CSettings) { s.Levels = levels }); err != nil {
		return err
	}
	var id uint64
	var scope uint32
	var gone []uint64
	for it := d.objs.Scopes.Iterate(); it.Next(&id, &scope); {
		if _, ok := want[id]; !ok {
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

// attach makes sure that every hook is on every outermost cgroup, with our programs, and nowhere else.
func (d *Dataplane) attach(scopes []*table.Scope) error {
	want := map[string]bool{}
	for _, cgroup := range outermost(scopes) {
		for _, h := range d.hooks() {
			name := linkName(cgroup, h.name)
			want[name] = true
			if slices.ContainsFunc(d.attached, func(a attachment) bool { return a.name == name }) {
				continue
			}
			l, err := d.attachHook(cgroup, name, h)
			if err != nil {
				return err
			}
			d.attached = append(d.attached, attachment{cgroup, name, l})
		}
	}
	return d.detachExcept(want)
}

// linkName is the name of a pin: bpffs allows no slashes and at most 255 bytes.
func linkName(cgroup, hook string) string {
	sum := sha256.Sum256([]byte(cgroup))
	return hex.EncodeToString(sum[:8]) + "_" + hook
}

// attachHook takes a pinned link over with our program, or makes and pins a new one.
func (d *Dataplane) attachHook(cgroup, name string, h hook) (link.Link, error) {
	pin := filepath.Join(d.o.PinDir, "links", name)
	if l, err := link.LoadPinnedLink(pin, nil); err == nil {
		if err := l.Update(h.program); err == nil {
			return l, nil
		}
		// The cgroup that it was on has gone; one of the same name may have come.
		l.Close()
		if err := os.Remove(pin); err != nil {
			return nil, fmt.Errorf("remove a stale pin: %w", err)
		}
	}
	l, err := link.AttachCgroup(link.CgroupOptions{
		Path: filepath.Join(d.o.CgroupRoot, cgroup), Attach: h.attach, Program: h.program,
	})
	if err != nil {
		return nil, fmt.Errorf("attach %s to cgroup %s (another program there may forbid it; see bpftool cgroup show): %w", h.name, cgroup, err)
	}
	if err := l.Pin(pin); err != nil {
		l.Close()
		return nil, fmt.Errorf("pin %s: %w", name, err)
	}
	return l, nil
}

// detachExcept unpins the links that no scope needs any more, those of earlier agents included.
func (d *Dataplane) detachExcept(want map[string]bool) error {
	d.attached = slices.DeleteFunc(d.attached, func(a attachment) bool {
		if want[a.name] {
			return false
		}
		a.close()
		return true
	})
	return detach(filepath.Join(d.o.PinDir, "links"), func(name string) bool { return !want[name] })
}

// detach removes the chosen pinned links of a folder; when it returns, their programs see no more sockets.
func detach(dir string, chosen func(name string) bool) error {
	pins, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("list the pinned links: %w", err)
	}
	for _, p := range pins {
		if !chosen(p.Name()) {
			continue
		}
		pin := filepath.Join(dir, p.Name())
		// The kernel frees a link some time after its last name and descriptor have gone; detaching takes effect at once.
		if l, err := link.LoadPinnedLink(pin, nil); err == nil {
			err = l.Detach()
			l.Close()
			if err != nil {
				return fmt.Errorf("detach %s: %w", p.Name(), err)
			}
		}
		if err := os.Remove(pin); err != nil {
			return fmt.Errorf("unpin a link: %w", err)
		}
	}
	return nil
}

// foreign names the programs of others on our cgroups.
func (d *Dataplane) foreign() []string {
	own := map[ebpf.ProgramID]bool{}
	for _, h := range d.hooks() {
		if info, err := h.program.Info(); err == nil {
			if id, ok := info.ID(); ok {
				own[id] = true
			}
		}
	}
	var all []string
	seen := map[string]bool{}
	for _, a := range d.attached {
		if seen[a.cgroup] {
			continue
		}
		seen[a.cgroup] = true
		all = append(all, d.foreignOn(a.cgroup, own)...)
	}
	return all
}

func (d *Dataplane) foreignOn(cgroup string, own map[ebpf.ProgramID]bool) []string {
	dir, err := os.Open(filepath.Join(d.o.CgroupRoot, cgroup))
	if err != nil {
		return nil // the cgroup has gone
	}
	defer dir.Close()
	var all []string
	for _, h := range d.hooks() {
		res, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: h.attach})
		if err != nil {
			continue // a kernel that cannot say
		}
		for _, p := range res.Programs {
			if !own[p.ID] {
				all = append(all, fmt.Sprintf("%s on cgroup %s is also handled by %s", h.name, cgroup, programName(p.ID)))
			}
		}
	}
	return all
}

func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return fmt.Sprintf("program %d", id)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return fmt.Sprintf("program %d", id)
	}
	return fmt.Sprintf("program %d (%s)", id, info.Name)
}
