// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clean removes everything, whatever happened before.
func (d *Demo) clean() error {
	var all []error
	if d.client != nil {
		all = append(all, d.client.stop(0, 10*time.Second))
	}
	for _, l := range d.links {
		all = append(all, l.Down())
	}
	for _, p := range d.children {
		sig := syscall.Signal(0)
		if p == d.agent {
			sig = syscall.SIGINT
		}
		all = append(all, p.stop(sig, 10*time.Second))
	}
	// The agent may be dead, or could not detach.
	all = append(all, d.unpin(d.pins()), removeCgroup(d.cgroup()), os.RemoveAll(d.files.dir))
	return errors.Join(all...)
}

// unpin removes what an agent left in the kernel.
func (d *Demo) unpin(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// A state folder that does not exist has no agent in it: its pins are removed directly.
	text, err := exec.Command(d.o.Leno, "down", "--pin-dir", dir, "--state-dir", filepath.Join(dir, "none")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("leno down: %w: %s", err, text)
	}
	return nil
}

// sweep removes what demos left that were killed and could not clean up.
func (d *Demo) sweep() error {
	var all []error
	for dir, remove := range map[string]func(string) error{
		d.o.BPFMount: d.unpin, d.o.CgroupMount: removeCgroup, os.TempDir(): os.RemoveAll,
	} {
		left, err := filepath.Glob(filepath.Join(dir, "leno-demo-*"))
		all = append(all, err)
		for _, path := range left {
			if !alive(path) {
				all = append(all, remove(path))
			}
		}
	}
	return errors.Join(all...)
}

// alive tells whether the demo that made a path named leno-demo-PID[-...] still runs; of other paths it says so too.
func alive(path string) bool {
	words := strings.Split(filepath.Base(path), "-")
	if len(words) < 3 {
		return true
	}
	pid, err := strconv.Atoi(words[2])
	if err != nil {
		return true
	}
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// removeCgroup removes a cgroup and those that programs left in it. The kernel lets go of the last process a
// little after it has ended.
func removeCgroup(dir string) error {
	var last error
	for range 200 {
		inner, err := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, f := range inner {
			// What is still busy makes the removal of dir fail, below.
			_ = os.Remove(filepath.Dir(f))
		}
		if last = os.Remove(dir); last == nil || errors.Is(last, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("remove the client's cgroup: %w", last)
}
