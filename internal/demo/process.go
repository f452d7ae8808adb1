// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a child of the demo. It lives as long as its standard input is open, or until it is killed.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	log   string // file of its standard error
	done  chan struct{}
	err   error // of its end; read after done
}

// start begins cmd. A process group of its own keeps a Ctrl-C in the terminal from it: the demo ends its children
// itself, in order. If the demo is killed, orphan is the signal that they get; 0: the end of their input is enough.
func (d *Demo) start(name string, cmd *exec.Cmd, orphan syscall.Signal, flags uintptr) (*process, error) {
	p := &process{name: name, cmd: cmd, log: d.files.path(name + ".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphan, Cloneflags: flags}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make the input of %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	d.children = append(d.children, p)
	return p, nil
}

// ended tells how a process that should be running ended.
func (p *process) ended() error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		text = []byte(err.Error())
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if n := len(lines); n > 5 {
		lines = lines[n-5:]
	}
	return fmt.Errorf("%s ended (%v); its last words:\n%s", p.name, p.err, strings.Join(lines, "\n"))
}

// stop ends a process: by the end of its input, by sig, and by SIGKILL if that did not do.
func (p *process) stop(sig syscall.Signal, limit time.Duration) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	// A closed pipe or an ended process is what we want here.
	_ = p.stdin.Close()
	if sig != 0 {
		_ = p.cmd.Process.Signal(sig)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(limit):
	}
	err := p.cmd.Process.Kill()
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return fmt.Errorf("%s did not end by itself within %s and was killed", p.name, limit)
}
