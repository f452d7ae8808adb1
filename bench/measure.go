// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/leno-mesh/leno/internal/demo"
)

// The places of the server, seen from the client and the proxies, which are in this program's namespace.
const (
	sameNamespace = "same-namespace"
	twoNamespaces = "two-namespaces" // over veth, the server in leno's cgroup as well: a pod on this host
	anotherNode   = "another-node"   // over veth, the server outside leno's cgroup: all that leno knows of other hosts
)

// bench is one run.
type bench struct {
	w      *world
	o      options
	report *Report
	cpus   string

	contenders []*contender
	places     []string
	// targets are the addresses that clients ask, by contender and place; bulk those of bulk TCP.
	targets, bulk map[string]map[string]string
	servers       int // made so far
}

// setUp starts the servers and all contenders. One that does not start is missing, with its reason.
func (b *bench) setUp() error {
	for _, p := range []string{sameNamespace, twoNamespaces, anotherNode} {
		if b.o.places.MatchString(p) {
			b.places = append(b.places, p)
		}
	}
	all, absent := contenders(b.o.leno)
	b.report.Missing = append(b.report.Missing, absent...)
	b.targets, b.bulk = map[string]map[string]string{}, map[string]map[string]string{}
	unmanaged := map[string]string{}
	for _, p := range b.places {
		at, err := b.server(p, "")
		if err != nil {
			return err
		}
		unmanaged[p] = at
	}
	for i, c := range all {
		if c.name != "bare" && !b.o.contenders.MatchString(c.name) {
			continue
		}
		c.offset = i
		if err := b.join(c, unmanaged); err != nil {
			b.report.Missing = append(b.report.Missing, missing{c.name, err.Error()})
			continue
		}
		b.contenders = append(b.contenders, c)
	}
	return nil
}

// join gives a contender its routes and starts it.
func (b *bench) join(c *contender, unmanaged map[string]string) error {
	b.targets[c.name], b.bulk[c.name] = map[string]string{}, map[string]string{}
	if c.managed {
		var err error
		if c.cgroup, err = b.w.group(c.name); err != nil {
			return err
		}
	}
	var routes []route
	for i, p := range b.places {
		at := unmanaged[p]
		if c.managed && p != anotherNode {
			var err error
			if at, err = b.server(p, c.cgroup); err != nil {
				return err
			}
		}
		sink := nextPort(at)
		if c.start == nil {
			b.targets[c.name][p], b.bulk[c.name][p] = at, sink
			continue
		}
		port := 22000 + 100*c.offset + 2*i
		routes = append(routes, route{Port: port, Upstream: at, HTTP: c.http})
		b.targets[c.name][p] = local(port)
		if !c.http {
			routes = append(routes, route{Port: port + 1, Upstream: sink})
			b.bulk[c.name][p] = local(port + 1)
		}
	}
	if c.start == nil {
		return nil
	}
	var err error
	c.process, err = c.start(b.w, c, routes)
	return err
}

func nextPort(at string) string {
	a := netip.MustParseAddrPort(at)
	return netip.AddrPortFrom(a.Addr(), a.Port()+1).String()
}

// server starts one server at a place and returns its HTTP address; its sink has the next port.
func (b *bench) server(where, cgroup string) (string, error) {
	n := b.servers
	b.servers++
	dir := filepath.Join(b.w.dir, fmt.Sprintf("server-%d", n))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	p, err := b.w.start(fmt.Sprintf("server-%d", n), place{cgroup: cgroup, netns: where != sameNamespace},
		b.w.self, "serve", dir, fmt.Sprint(2*n))
	if err != nil {
		return "", err
	}
	host := "127.0.0.1"
	if where != sameNamespace {
		subnet, err := demo.FreeSubnet()
		if err != nil {
			return "", err
		}
		l := demo.LinkIn(subnet, 0, fmt.Sprintf("lenob%d-%d", os.Getpid()%1_000_000, n))
		b.w.atEnd(l.Down)
		if err := l.Up(p.cmd.Process.Pid); err != nil {
			return "", err
		}
		host = l.There.Addr().String()
	}
	at := net.JoinHostPort(host, fmt.Sprint(portHTTP+2*n))
	return at, p.until("the server answers on "+at, func() bool { return accepts(at) && accepts(nextPort(at)) })
}

// measure goes through places and loads. All contenders of one round run one after the other, so that a ratio
// compares neighbours in time; each round begins with another one.
func (b *bench) measure(ctx context.Context) error {
	for _, p := range b.places {
		for _, l := range loads {
			if !b.o.loads.MatchString(l.name) {
				continue
			}
			if err := b.measureLoad(ctx, p, l); err != nil {
				return err
			}
		}
	}
	for _, c := range b.contenders {
		if c.process == nil {
			continue
		}
		m, err := memoryOf(c.process.cmd.Process.Pid)
		if err != nil {
			return err
		}
		b.report.Memory = append(b.report.Memory, ContenderMemory{c.name, m})
	}
	return nil
}

func (b *bench) measureLoad(ctx context.Context, where string, l load) error {
	if l.connections == 1 {
		// Alone, a request pays for waking a sleeping processor more than for anything else.
		s, err := b.w.start("spin", place{}, "nice", "-n", "19", b.w.self, "spin", b.cpus)
		if err != nil {
			return err
		}
		defer s.stop()
	}
	closed := b.rounds(l, func(c *contender) (Slice, error) {
		at := b.targets[c.name][where]
		if l.bulk {
			at = b.bulk[c.name][where]
		}
		return b.w.closedLoop(ctx, l, c.cgroup, at, b.o.slice)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	b.report.add(where, l.name, 0, closed)
	bare := medianRate(closed["bare"])
	if !l.latency || bare <= 0 {
		return nil
	}
	shares := []float64{0.5, 0.8}
	if b.o.quick {
		shares = shares[:1]
	}
	for _, share := range shares {
		open := b.rounds(l, func(c *contender) (Slice, error) {
			return b.openLoop(ctx, l, c.cgroup, b.targets[c.name][where], share*bare)
		})
		if err := ctx.Err(); err != nil {
			return err
		}
		b.report.add(where, l.name, share, open)
	}
	return nil
}

func medianRate(slices []Slice) float64 {
	var x []float64
	for _, s := range slices {
		if s.PerSecond > 0 {
			x = append(x, s.PerSecond)
		}
	}
	return median(x)
}

// rounds returns the slices of each contender; one that failed is empty and reported.
func (b *bench) rounds(l load, one func(*contender) (Slice, error)) map[string][]Slice {
	all := map[string][]Slice{}
	var field []*contender
	for _, c := range b.contenders {
		if !l.bulk || !c.http {
			field = append(field, c)
		}
	}
	for r := range b.o.rounds {
		for i := range field {
			c := field[(i+r)%len(field)]
			s, err := one(c)
			if err != nil {
				b.report.Errors = append(b.report.Errors, fmt.Sprintf("%s, %s: %v", c.name, l.name, err))
				s = Slice{}
			}
			all[c.name] = append(all[c.name], s)
		}
	}
	return all
}

// openLoop asks at a fixed rate.
func (b *bench) openLoop(ctx context.Context, l load, cgroup, address string, rate float64) (Slice, error) {
	before, err := busyTime()
	if err != nil {
		return Slice{}, err
	}
	out, err := b.w.run(ctx, cgroup, b.w.self, "open", address, l.path, fmt.Sprint(l.connections),
		fmt.Sprintf("%.1f", rate), b.o.slice.String())
	if err != nil {
		return Slice{}, err
	}
	after, err := busyTime()
	if err != nil {
		return Slice{}, err
	}
	var r OpenResult
	if err := json.Unmarshal(out, &r); err != nil {
		return Slice{}, fmt.Errorf("read the open loop's result: %w", err)
	}
	return Slice{PerSecond: float64(r.Answered) / r.Seconds, Failed: r.Failed, P50: r.P50, P99: r.P99, P999: r.P999,
		CPU:       float64((after-before)/time.Microsecond) / float64(max(1, r.Answered)),
		Saturated: float64(r.Answered) < 0.98*float64(r.Planned)}, nil
}
