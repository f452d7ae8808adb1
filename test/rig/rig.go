// SPDX-License-Identifier: Apache-2.0

// Package rig is what end-to-end tests stand on: a private cgroup, private
// network namespaces, programs started inside them, and a real leno on them.
// Everything is removed when the test ends. It makes no statement about leno
// and is imported by tests only.
//
// The layout of one rig:
//
//	cgroup  leno-t-PID-N/managed   programs that leno manages
//	        leno-t-PID-N/outside   the agent, and programs that it must not touch
//	netns   leno-t-PID-N-1         Home: the agent, and programs unless told otherwise
//	pins    BPFFS/leno-t-PID-N
package rig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Rig is one private world. Its methods must be called from the test's goroutine.
type Rig struct {
	T    testing.TB
	Name string
	// Dir is a temporary folder, removed at the end.
	Dir string
	// Cgroup is what leno manages, as a path below the cgroup2 mount.
	Cgroup string
	// Pins and State are the agent's --pin-dir and --state-dir.
	Pins, State string
	// Home is where the agent runs.
	Home *Namespace

	cgroupDir  string // of the whole rig
	agents     []*Agent
	namespaces int
}

// New makes a rig, or skips the test without root.
func New(t testing.TB) *Rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups, namespaces and loads BPF programs")
	}
	r := &Rig{T: t, Dir: t.TempDir()}
	// A unix socket's path is limited to 107 bytes, which a test's temporary folder may exceed.
	state, err := os.MkdirTemp("", "leno-t-")
	if err != nil {
		t.Fatal(err)
	}
	r.State = state
	t.Cleanup(func() { os.RemoveAll(state) })
	r.makeCgroups()
	r.Cgroup, r.Pins = "/"+r.Name+"/managed", "/sys/fs/bpf/"+r.Name
	r.Home = r.NewNamespace()
	// Runs before the cgroups and namespaces go.
	t.Cleanup(r.down)
	return r
}

// CgroupDir is the folder of the managed cgroup.
func (r *Rig) CgroupDir() string { return filepath.Join(r.cgroupDir, "managed") }

func (r *Rig) makeCgroups() {
	mount := cgroupMount(r.T)
	for n := 1; ; n++ { // the first name that is free, whoever else tests just now
		r.Name = fmt.Sprintf("leno-t-%d-%d", os.Getpid(), n)
		r.cgroupDir = filepath.Join(mount, r.Name)
		if err := os.Mkdir(r.cgroupDir, 0o755); err == nil {
			break
		} else if !errors.Is(err, os.ErrExist) {
			r.T.Fatalf("make a cgroup: %v", err)
		}
	}
	for _, d := range []string{"managed", "outside"} {
		if err := os.Mkdir(filepath.Join(r.cgroupDir, d), 0o755); err != nil {
			r.T.Fatalf("make a cgroup: %v", err)
		}
	}
	r.T.Cleanup(func() {
		// Whatever a program left behind goes with its cgroup.
		if err := os.WriteFile(filepath.Join(r.cgroupDir, "cgroup.kill"), []byte("1"), 0); err != nil {
			r.T.Errorf("kill the rest of the cgroup: %v", err)
		}
		for _, d := range []string{"managed", "outside", ""} {
			dir := filepath.Join(r.cgroupDir, d)
			r.Until(10*time.Second, "cgroup "+dir+" is empty", func() bool { return os.Remove(dir) == nil })
		}
	})
}

func cgroupMount(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	t.Fatal("cgroup2 is mounted nowhere: mount -t cgroup2 none /sys/fs/cgroup/unified")
	return ""
}

// Slow multiplies d by the factor that LENO_TEST_SLOW gives for emulated machines.
func Slow(d time.Duration) time.Duration {
	if f, err := strconv.Atoi(os.Getenv("LENO_TEST_SLOW")); err == nil && f > 1 {
		return d * time.Duration(f)
	}
	return d
}

// Until polls cond until it holds; after limit (of a machine of normal speed) the test ends, saying what did not come.
func (r *Rig) Until(limit time.Duration, what string, cond func() bool) {
	r.T.Helper()
	deadline := time.Now().Add(Slow(limit))
	for pause := time.Millisecond; !cond(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			r.T.Fatalf("waited %s in vain: %s", Slow(limit), what)
		}
		time.Sleep(pause)
	}
}

// Write puts text into a file of the rig's folder, as an editor with rename does, and returns its path.
func (r *Rig) Write(name, text string) string {
	r.T.Helper()
	path := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.T.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		r.T.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.T.Fatal(err)
	}
	return path
}
