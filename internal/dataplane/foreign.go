// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// foreign names the programs of others that see the same sockets as ours: those on our cgroups, on the cgroups above (they
// run after ours) and on those below (they run before).
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
	look := func(cgroup string) {
		if seen[cgroup] {
			return
		}
		seen[cgroup] = true
		for _, h := range d.hooks() {
			for _, p := range d.programsOn(cgroup, h) {
				if !own[p] {
					all = append(all, fmt.Sprintf("%s on cgroup %s is also handled by %s", h.name, cgroup, programName(p)))
				}
			}
		}
	}
	for _, a := range d.attached {
		if seen[a.cgroup] {
			continue
		}
		for _, cgroup := range ancestors(a.cgroup) {
			look(cgroup)
		}
		// Cgroups vanish while we look; those that are left are found.
		_ = filepath.WalkDir(filepath.Join(d.o.CgroupRoot, a.cgroup), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil
			}
			if rel, err := filepath.Rel(d.o.CgroupRoot, path); err == nil {
				look(filepath.Clean("/" + rel))
			}
			return nil
		})
	}
	return all
}

// ancestors lists a cgroup's path and all above it, from the root.
func ancestors(cgroup string) []string {
	all := []string{"/"}
	for i := 1; i < len(cgroup); i++ {
		if cgroup[i] == '/' {
			all = append(all, cgroup[:i])
		}
	}
	if cgroup != "/" {
		all = append(all, cgroup)
	}
	return all
}

// programsOn lists the programs on exactly this cgroup.
func (d *Dataplane) programsOn(cgroup string, h hook) []ebpf.ProgramID {
	dir, err := os.Open(filepath.Join(d.o.CgroupRoot, cgroup))
	if err != nil {
		return nil // the cgroup has gone
	}
	defer dir.Close()
	res, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: h.attach})
	if err != nil {
		return nil // a kernel that cannot say
	}
	ids := make([]ebpf.ProgramID, 0, len(res.Programs))
	for _, p := range res.Programs {
		ids = append(ids, p.ID)
	}
	return ids
}

// explainAttach says who keeps a hook from being attached: a program that was attached alone forbids others.
func (d *Dataplane) explainAttach(cgroup string, h hook, err error) error {
	if !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("attach %s to cgroup %s: %w", h.name, cgroup, err)
	}
	var who []string
	for _, c := range ancestors(cgroup) {
		for _, p := range d.programsOn(c, h) {
			who = append(who, fmt.Sprintf("%s on cgroup %s", programName(p), c))
		}
	}
	if who == nil {
		return fmt.Errorf("attach %s to cgroup %s: %w: a security module (SELinux, seccomp) forbids it", h.name, cgroup, err)
	}
	return fmt.Errorf("attach %s to cgroup %s: %s was attached in a way that allows no other program: detach it "+
		"(bpftool cgroup detach), or manage another cgroup with --cgroup: %w", h.name, cgroup, strings.Join(who, ", "), err)
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
