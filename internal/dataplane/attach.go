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

	"github.com/leno-mesh/leno/internal/table"
)

// attachment is one program on one cgroup.
type attachment struct {
	cgroup string // path below the mount
	id     uint64 // of the cgroup: another one of the same path may come
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

// attach makes sure that every hook is on every outermost cgroup that exists, with our programs, and nowhere else.
func (d *Dataplane) attach(scopes []*table.Scope, rows scopeRows) error {
	want := map[string]bool{}
	for _, cgroup := range outermost(scopes) {
		id, ok := rows.cgroups[cgroup]
		if !ok {
			continue // its links went with it
		}
		for _, h := range d.hooks() {
			name := linkName(cgroup, h.name)
			want[name] = true
			if slices.ContainsFunc(d.attached, func(a attachment) bool { return a.name == name && a.id == id }) {
				continue
			}
			l, err := d.attachHook(cgroup, name, h)
			if err != nil {
				return err
			}
			d.dropAttached(func(a attachment) bool { return a.name == name })
			d.attached = append(d.attached, attachment{cgroup, id, name, l})
		}
	}
	return d.detachExcept(want)
}

// dropAttached lets go of the chosen links; their pins are left alone.
func (d *Dataplane) dropAttached(chosen func(attachment) bool) {
	d.attached = slices.DeleteFunc(d.attached, func(a attachment) bool {
		if !chosen(a) {
			return false
		}
		a.close()
		return true
	})
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
		return nil, d.explainAttach(cgroup, h, err)
	}
	if err := l.Pin(pin); err != nil {
		l.Close()
		return nil, fmt.Errorf("pin %s: %w", name, err)
	}
	return l, nil
}

// detachExcept unpins the links that no scope needs any more, those of earlier agents included.
func (d *Dataplane) detachExcept(want map[string]bool) error {
	d.dropAttached(func(a attachment) bool { return !want[a.name] })
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
			if err != nil && !errors.Is(err, unix.ENOLINK) { // ENOLINK: its cgroup has gone
				return fmt.Errorf("detach %s: %w", p.Name(), err)
			}
		}
		if err := os.Remove(pin); err != nil {
			return fmt.Errorf("unpin a link: %w", err)
		}
	}
	return nil
}
