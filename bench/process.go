// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// world is all that a benchmark makes, and must remove: a folder, cgroups, processes.
type world struct {
	dir    string // configurations, logs, sockets
	mount  string // of cgroup2
	cgroup string // below mount; the managed cgroups are in it
	self   string // this binary, which is also servers and clients
	undo   []func() error
}

func newWorld() (*world, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this binary: %w", err)
	}
	mount, err := cgroupMount()
	if err != nil {
		return nil, err
	}
	w := &world{mount: mount, cgroup: fmt.Sprintf("/leno-bench-%d", os.Getpid()), self: self}
	if err := os.Mkdir(mount+w.cgroup, 0o755); err != nil {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	w.atEnd(func() error { return removeCgroup(mount + w.cgroup) })
	base := "/dev/shm" // uploads end in a file: it must not wait for a disk
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	if w.dir, err = os.MkdirTemp(base, "leno-bench-"); err != nil {
		return nil, errors.Join(fmt.Errorf("make a folder: %w", err), w.close())
	}
	w.atEnd(func() error { return os.RemoveAll(w.dir) })
	return w, nil
}

// atEnd adds a step of the clean-up; the last added is the first done.
func (w *world) atEnd(f func() error) { w.undo = append(w.undo, f) }

func (w *world) close() error {
	var all []error
	for i := len(w.undo) - 1; i >= 0; i-- {
		all = append(all, w.undo[i]())
	}
	w.undo = nil
	return errors.Join(all...)
}

// group makes a cgroup inside the world's and returns its path below the mount.
func (w *world) group(name string) (string, error) {
	path := w.cgroup + "/" + name
	if err := os.Mkdir(w.mount+path, 0o755); err != nil {
		return "", fmt.Errorf("make a cgroup: %w", err)
	}
	w.atEnd(func() error { return removeCgroup(w.mount + path) })
	return path, nil
}

func removeCgroup(dir string) error {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// cgroupMount finds where cgroup2 is mounted.
func cgroupMount() (string, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("read the mounts: %w", err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("no cgroup2 is mounted: mount one with mount -t cgroup2 none /sys/fs/cgroup")
}

// place says where a program runs; the zero place is this program's own.
type place struct {
	cgroup string // below the mount
	netns  bool   // in a network namespace of its own
}

// process is a child that runs until it is stopped.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error // of its end; read after done
}

// start begins a program that is stopped at the end.
func (w *world) start(name string, at place, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(w.dir, name+".log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	p := &process{name: name, cmd: exec.Command(args[0], args[1:]...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if at.netns {
		p.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	leave, err := w.enter(p.cmd.SysProcAttr, at.cgroup)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	defer leave()
	// Only its end ends the input of those who wait for that: nobody writes.
	if _, err := p.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	w.atEnd(p.stop)
	return p, nil
}

// enter makes a program start in a cgroup.
func (w *world) enter(a *syscall.SysProcAttr, cgroup string) (leave func(), err error) {
	if cgroup == "" {
		return func() {}, nil
	}
	f, err := os.Open(w.mount + cgroup)
	if err != nil {
		return nil, fmt.Errorf("open a cgroup: %w", err)
	}
	a.UseCgroupFD, a.CgroupFD = true, int(f.Fd())
	return func() { f.Close() }, nil
}

// stop is Ctrl-C, and SIGKILL for who doesn't mind that. Stopping again does nothing.
func (p *process) stop() error {
	defer p.log.Close()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		select {
		case <-p.done:
			return nil
		default:
		}
		// It may end just now; then done tells.
		_ = p.cmd.Process.Signal(sig)
		select {
		case <-p.done:
			return nil
		case <-time.After(5 * time.Second):
		}
	}
	return fmt.Errorf("%s (pid %d) does not end", p.name, p.cmd.Process.Pid)
}

// until polls until ok, while the process runs.
func (p *process) until(what string, ok func() bool) error {
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended (%v): %s", p.name, p.err, p.words())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited 30 s in vain until %s: %s", what, p.words())
		}
	}
	return nil
}

// words are the last lines of its log.
func (p *process) words() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-600):])
}

// run is a program that ends by itself; it returns what it said.
func (w *world) run(ctx context.Context, cgroup string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	leave, err := w.enter(cmd.SysProcAttr, cgroup)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", strings.Join(args[:min(2, len(args))], " "), err, errs.Bytes(), out.Bytes())
	}
	return out.Bytes(), nil
}

// accepts tells whether somebody listens there.
func accepts(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// untilInputEnds is how children of the benchmark know that it is over.
func untilInputEnds() { _, _ = io.Copy(io.Discard, os.Stdin) }
