// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program says what to start and where. Args is required; the zero value of the rest is a managed program in Home.
type Program struct {
	Args []string
	// Namespace is where its sockets are made; nil: Home.
	Namespace *Namespace
	// Outside keeps it out of the managed cgroup.
	Outside bool
	// Dir is its working folder; default: the rig's.
	Dir   string
	Env   []string // added to ours
	Stdin string
	// User runs it as another user; nil: root.
	User *syscall.Credential
}

// Proc is a running program. It is killed when the test ends.
type Proc struct {
	rig  *Rig
	cmd  *exec.Cmd
	out  buffer
	done chan struct{}
	err  error // after done
}

// buffer may be read while the program writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Start starts p: already its first instruction runs in its cgroup and namespace.
func (r *Rig) Start(p Program) *Proc {
	r.T.Helper()
	proc := &Proc{rig: r, cmd: exec.Command(p.Args[0], p.Args[1:]...), done: make(chan struct{})}
	c := proc.cmd
	c.Stdout, c.Stderr = &proc.out, &proc.out
	c.Env = append(os.Environ(), p.Env...)
	if c.Dir = p.Dir; c.Dir == "" {
		c.Dir = r.Dir
	}
	if p.Stdin != "" {
		c.Stdin = strings.NewReader(p.Stdin)
	}
	// Grandchildren that outlive the program keep the pipe open; they must not hold Wait up.
	c.WaitDelay = time.Second
	sub := "managed"
	if p.Outside {
		sub = "outside"
	}
	fd, err := unix.Open(filepath.Join(r.cgroupDir, sub), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		r.T.Fatalf("open the cgroup: %v", err)
	}
	defer unix.Close(fd)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd, Credential: p.User}
	ns := p.Namespace
	if ns == nil {
		ns = r.Home
	}
	ns.Do(c.Start) // a child inherits the namespace of the thread that starts it
	go func() {
		proc.err = c.Wait()
		close(proc.done)
	}()
	r.T.Cleanup(proc.cleanup)
	return proc
}

func (p *Proc) cleanup() {
	p.Signal(syscall.SIGKILL)
	<-p.done
	if p.rig.T.Failed() {
		text := p.Output()
		if len(text) > 4000 {
			text = "[...]" + text[len(text)-4000:]
		}
		p.rig.T.Logf("output of %s:\n%s", strings.Join(p.cmd.Args, " "), text)
	}
}

// PID of the program.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Output is what the program has printed so far, on both streams.
func (p *Proc) Output() string { return p.out.String() }

// Signal sends s; a program that has ended is left in peace.
func (p *Proc) Signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.rig.T.Errorf("signal %s to %s: %v", s, p.cmd.Path, err)
	}
}

// Kill is kill -9, and waits until the program is gone.
func (p *Proc) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Running tells whether the program has not ended yet.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait returns the exit status (-1 after a signal) when the program ended; after limit the test ends.
func (p *Proc) Wait(limit time.Duration) int {
	p.rig.T.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(Slow(limit)):
		p.rig.T.Fatalf("%s hangs: no end within %s", strings.Join(p.cmd.Args, " "), Slow(limit))
		return -1
	}
}

// Run starts p, waits for its end and returns what it printed; any status but 0 ends the test.
func (r *Rig) Run(limit time.Duration, p Program) string {
	r.T.Helper()
	proc := r.Start(p)
	if status := proc.Wait(limit); status != 0 {
		r.T.Fatalf("%s: exit status %d", strings.Join(p.Args, " "), status)
	}
	return proc.Output()
}

// Serve starts a server and waits until address takes connections in its namespace. The waiting is done from outside
// the managed cgroup, so that it shows in no counter.
func (r *Rig) Serve(address string, p Program) *Proc {
	r.T.Helper()
	proc := r.Start(p)
	ns := p.Namespace
	if ns == nil {
		ns = r.Home
	}
	r.Until(60*time.Second, p.Args[0]+" listens on "+address, func() bool {
		if !proc.Running() {
			r.T.Fatalf("%s ended before it listened", strings.Join(p.Args, " "))
		}
		ok := false
		ns.Do(func() error {
			if c, err := net.Dial("tcp", address); err == nil {
				ok = true
				c.Close()
			}
			return nil
		})
		return ok
	})
	return proc
}
