// SPDX-License-Identifier: Apache-2.0

// Package demo is the traffic diversion experiment behind `leno demo`: two
// versions of an HTTP and of a TCP service in network namespaces of their own,
// steady load, and an agent whose files are edited and which is killed once
// meanwhile. It judges the agent from outside, by what client and servers saw,
// and therefore imports nothing of it.
//
// It is not a benchmark (bench/ is) and not for tests of single behaviours.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options of one demo. All but Hold and Terminal are required.
type Options struct {
	// Leno is the binary that runs as agent, servers and client.
	Leno string
	// CgroupMount is where cgroup2 is mounted; BPFMount is a folder of a BPF file system.
	CgroupMount, BPFMount string
	// Out gets the live table if Terminal, else plain lines.
	Out      io.Writer
	Terminal bool
	// Hold keeps everything running after the last step until the context ends.
	Hold bool
}

// Demo is one experiment. It is for one Run.
type Demo struct {
	o        Options
	name     string // of its cgroup, pins and links
	files    files
	tally    tally
	view     view
	links    []Link
	children []*process
	agent    *process
	client   *process
	failed   chan error // a child that should run ended
}

// New prepares a demo; nothing is started.
func New(o Options) *Demo {
	d := &Demo{o: o, name: fmt.Sprintf("leno-demo-%d", os.Getpid()), failed: make(chan error, 1)}
	d.view = view{out: o.Out, terminal: o.Terminal, tally: &d.tally, began: time.Now()}
	return d
}

// Run makes the experiment and removes all traces of it. The error says what went otherwise than the design
// promises, or what could not be done.
func (d *Demo) Run(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the demo makes network namespaces and cgroups: run it as root")
	}
	if err := d.sweep(); err != nil {
		return err
	}
	if d.files.dir, err = os.MkdirTemp("", d.name+"-"); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	defer func() { err = errors.Join(err, d.clean()) }()
	if err := os.Mkdir(d.cgroup(), 0o755); err != nil {
		return fmt.Errorf("make the client's cgroup: %w", err)
	}
	if err := d.startServers(ctx); err != nil {
		return err
	}
	d.tally.edit(script[0].split, time.Now())
	if err := d.files.write(script[0].split); err != nil {
		return err
	}
	if err := d.startAgent(ctx); err != nil {
		return err
	}
	return d.experiment(ctx)
}

// experiment runs the script and the view beside it, then judges.
func (d *Demo) experiment(ctx context.Context) error {
	if err := d.startClient(); err != nil {
		return err
	}
	viewing, stopView := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error { return d.view.run(viewing) })
	err := d.play(ctx)
	d.tally.close(time.Now())
	stopView()
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	verdict := d.view.summary()
	if d.o.Hold {
		if err := d.hold(ctx); err != nil {
			return errors.Join(verdict, err)
		}
	}
	return verdict
}

func (d *Demo) cgroup() string { return filepath.Join(d.o.CgroupMount, d.name) }
func (d *Demo) pins() string   { return filepath.Join(d.o.BPFMount, d.name) }

// leno is a command of the binary with this demo's pins and state.
func (d *Demo) leno(verb string, args ...string) *exec.Cmd {
	all := []string{verb, "--state-dir", d.files.dir}
	if verb != "exec" {
		all = append(all, "--pin-dir", d.pins())
	}
	return exec.Command(d.o.Leno, append(all, args...)...)
}

// startServers starts the four versions, each in a network namespace of its own, and waits until each answers.
func (d *Demo) startServers(ctx context.Context) error {
	subnet, err := FreeSubnet()
	if err != nil {
		return err
	}
	d.files.servers = map[string]netip.AddrPort{}
	for i, name := range serverNames {
		service, version := name[:len(name)-3], name[len(name)-2:]
		listen := map[string]uint16{serviceHTTP: 80, serviceTCP: 7000}[service]
		p, err := d.start(name, exec.Command(d.o.Leno, "demo", "server", service, version, fmt.Sprintf("0.0.0.0:%d", listen)),
			0, syscall.CLONE_NEWNET)
		if err != nil {
			return err
		}
		l := LinkIn(subnet, i, fmt.Sprintf("lenod%d-%d", os.Getpid()%10_000_000, i))
		d.links = append(d.links, l)
		if err := l.Up(p.cmd.Process.Pid); err != nil {
			return err
		}
		at := netip.AddrPortFrom(l.There.Addr(), listen)
		d.files.servers[name] = at
		if err := d.until(ctx, p, name+" answers", func() bool { return answers(at) }); err != nil {
			return err
		}
	}
	if d.files.http, err = freePort(18080); err != nil {
		return err
	}
	d.files.tcp, err = freePort(18081)
	return err
}

func answers(at netip.AddrPort) bool {
	c, err := net.DialTimeout("tcp", at.String(), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// freePort is a loopback address that nobody has, the wished one if it can be.
func freePort(wish uint16) (netip.AddrPort, error) {
	for _, p := range []uint16{wish, 0} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		defer l.Close()
		return netip.MustParseAddrPort(l.Addr().String()), nil
	}
	return netip.AddrPort{}, errors.New("no free port on 127.0.0.1")
}

// startAgent starts the agent and waits until its configuration is in force.
func (d *Demo) startAgent(ctx context.Context) error {
	cmd := d.leno("run", "-c", d.files.path("bootstrap.yaml"), "--cgroup", "/"+d.name, "--drain-time-s", "1")
	// An agent whose demo was killed takes Ctrl-C's way out: it detaches. What it does not reach, sweep removes.
	p, err := d.start("agent", cmd, syscall.SIGINT, 0)
	if err != nil {
		return err
	}
	d.agent = p
	return d.until(ctx, p, "the agent is ready", func() bool {
		c, err := net.Dial("unix", d.files.path("admin.sock"))
		if err != nil {
			return false
		}
		defer c.Close()
		deadline := time.Now().Add(5 * time.Second)
		if err := c.SetDeadline(deadline); err != nil {
			return false
		}
		if _, err := io.WriteString(c, "GET /ready HTTP/1.0\r\nHost: leno\r\n\r\n"); err != nil {
			return false
		}
		text, err := io.ReadAll(c)
		return err == nil && bytes.Contains(text, []byte("LIVE"))
	})
}

// startClient starts the load inside the managed cgroup, as a user would: with leno exec.
func (d *Demo) startClient() error {
	self := []string{"--cgroup", "/" + d.name, "--", d.o.Leno, "demo", "client",
		d.files.http.String(), d.files.tcp.String(),
		d.files.servers["http-v1"].String(), d.files.servers["tcp-v1"].String()}
	cmd := d.leno("exec", self...)
	read, write := io.Pipe()
	cmd.Stdout = write
	p, err := d.start("client", cmd, 0, 0)
	if err != nil {
		return err
	}
	d.client = p
	go func() {
		<-p.done
		write.Close()
	}()
	go func() {
		for dec := json.NewDecoder(read); ; {
			var e event
			if err := dec.Decode(&e); err != nil {
				// Also the orderly end: whoever waits for it knows; for the others the client is gone.
				read.CloseWithError(err)
				<-p.done
				d.failed <- p.ended()
				return
			}
			d.tally.add(e)
		}
	}()
	return nil
}

// until polls until ok, for at most 20 seconds, while p runs.
func (d *Demo) until(ctx context.Context, p *process, what string, ok func() bool) error {
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-p.done:
			return p.ended()
		case <-limit.C:
			return fmt.Errorf("waited 20 s in vain until %s; its log is %s", what, p.log)
		case <-tick.C:
		}
	}
	return nil
}

var errInterrupted = errors.New("interrupted; everything is removed")
