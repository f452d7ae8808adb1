// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Sizes of the scale part.
const (
	manyListeners   = 10_000
	quickListeners  = 2_000 // of -quick
	endpointsEach   = 10
	editedListeners = 1_000
	connectsInSlice = 5_000
)

// scale is the part about leno alone.
type scale struct {
	*bench
	port int // of a server on every loopback address
}

// measureScale measures start, idle memory, the cost of many listeners, and how soon an edit is live. What fails is
// reported, and the rest goes on.
func (b *bench) measureScale(ctx context.Context) error {
	server, err := announce("a")
	if err != nil {
		return err
	}
	defer server.Close()
	s := &scale{bench: b, port: server.Addr().(*net.TCPAddr).Port}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"start", s.start}, {"many listeners", s.many}, {"edits", s.edits}} {
		if err := part.run(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.report.Errors = append(b.report.Errors, part.name+": "+err.Error())
		}
	}
	return nil
}

func (s *scale) figure(name string, value float64, unit, format string, a ...any) {
	s.report.Scale = append(s.report.Scale, Figure{name, value, unit, fmt.Sprintf(format, a...)})
}

// listenerAddress is the i-th service address. Nobody listens there: without leno it refuses at once.
func listenerAddress(i int) string { return fmt.Sprintf("127.213.%d.%d:80", i/250, 1+i%250) }

// listener is a service that is intercepted, not bound.
func listener(indent string, i int, cluster string) string {
	return fmt.Sprintf("%[1]sname: l%[2]d\n%[1]saddress: %[3]s\n%[1]sbind_to_port: false\n%[1]sfilter_chains:\n%[1]s- filters:\n%[4]s",
		indent, i, socketAddress(listenerAddress(i)), tcpProxy(indent+"  ", "l", cluster))
}

// services is a bootstrap with n listeners, each with a cluster of its own.
func (s *scale) services(n int) string {
	var endpoints []string
	for i := range endpointsEach {
		endpoints = append(endpoints, fmt.Sprintf("127.0.1.%d:%d", i+1, s.port))
	}
	var listeners, clusters strings.Builder
	for i := range n {
		listeners.WriteString("  -\n" + listener("    ", i, fmt.Sprintf("c%d", i)))
		clusters.WriteString(staticCluster(fmt.Sprintf("c%d", i), endpoints...))
	}
	return "static_resources:\n  listeners:\n" + listeners.String() + "  clusters:\n" + clusters.String()
}

// lone is an agent for the scale part, in a folder and a cgroup of its own.
func (s *scale) lone(name, conf string) (*process, string, error) {
	dir := filepath.Join(s.w.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return nil, "", err
	}
	cgroup, err := s.w.group(name)
	if err != nil {
		return nil, "", err
	}
	p, err := s.w.agent(name, s.o.leno, dir, cgroup, "-c", path, "--max-listeners", "16384", "--max-clusters", "16384",
		"--max-endpoints", "131072")
	return p, cgroup, err
}

// start measures from the agent's first instruction to the first connection that it placed, and its idle memory.
func (s *scale) start(ctx context.Context) error {
	var took []float64
	for i := range s.o.rounds {
		name := fmt.Sprintf("start-%d", i)
		dir := filepath.Join(s.w.dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		path := filepath.Join(dir, "envoy.yaml")
		if err := os.WriteFile(path, []byte(s.services(1)), 0o600); err != nil {
			return err
		}
		cgroup, err := s.w.group(name)
		if err != nil {
			return err
		}
		first := s.ask(ctx, cgroup, "first", listenerAddress(0))
		began := time.Now()
		p, err := s.w.agent(name, s.o.leno, dir, cgroup, "-c", path)
		if err != nil {
			return err
		}
		at, err := first()
		if err != nil {
			return err
		}
		took = append(took, float64(at.Sub(began).Microseconds())/1e3)
		if i == s.o.rounds-1 {
			if err := s.memory("idle agent, one listener", p); err != nil {
				return err
			}
		}
		if err := p.stop(); err != nil {
			return err
		}
	}
	e := estimate(took)
	s.figure("start to first connection", e.Median, "ms", "(%.0f-%.0f)", e.Low, e.High)
	return nil
}

func (s *scale) memory(name string, p *process) error {
	m, err := memoryOf(p.cmd.Process.Pid)
	if err != nil {
		return err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer f.Close()
	rss, err := parseKiB(f, "VmRSS:")
	if err != nil {
		return err
	}
	s.figure(name, float64(m.Anonymous+m.Maps)/1e6, "MB", "anonymous %.1f MB and maps %.1f MB; resident with the binary's own pages %.1f MB",
		float64(m.Anonymous)/1e6, float64(m.Maps)/1e6, float64(rss)/1e6)
	return nil
}

// ask starts a probe that reports a time.
func (s *scale) ask(ctx context.Context, cgroup string, args ...string) (answer func() (time.Time, error)) {
	var out []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		out, err = s.w.run(ctx, cgroup, append([]string{s.w.self, "probe"}, args...)...)
	}()
	return func() (time.Time, error) {
		<-done
		var ns int64
		if err == nil {
			err = json.Unmarshal(out, &ns)
		}
		return time.Unix(0, ns), err
	}
}

// many compares connect() without leno, with one listener, and to random ones of many.
func (s *scale) many(ctx context.Context) error {
	listeners := manyListeners
	if s.o.quick {
		listeners = quickListeners
	}
	_, one, err := s.lone("one", s.services(1))
	if err != nil {
		return err
	}
	began := time.Now()
	p, many, err := s.lone("many", s.services(listeners))
	if err != nil {
		return err
	}
	s.figure(fmt.Sprintf("start with %d listeners", listeners), time.Since(began).Seconds(), "s",
		"%d endpoints, one YAML file", listeners*endpointsEach)
	field := []*connectCost{
		{cgroup: "", to: []string{fmt.Sprintf("127.0.1.1:%d", s.port)}},
		{cgroup: one, to: []string{listenerAddress(0)}},
		{cgroup: many, to: []string{listenerAddress(listeners / 2)}},
		{cgroup: many},
	}
	for i := range listeners {
		field[3].to = append(field[3].to, listenerAddress(i))
	}
	// The first connection to an endpoint makes its counters: that is paid once, and not what is compared.
	warm := connectCost{cgroup: many, to: field[3].to}
	if err := warm.measure(ctx, s.w, endpointsEach*listeners, "all"); err != nil {
		return err
	}
	s.figure("first connect() to each endpoint", median(warm.ns)/1e3, "us", "")
	rounds := 3 * s.o.rounds
	for r := range rounds {
		for i := range field {
			if err := field[(i+r)%len(field)].measure(ctx, s.w, connectsInSlice, "random"); err != nil {
				return err
			}
		}
	}
	base := estimate(ratios(field[1].ns, field[0].ns))
	s.figure("connect() bare", median(field[0].ns)/1e3, "us", "")
	s.figure("connect() with one listener", median(field[1].ns)/1e3, "us", "%.2f x bare (%.2f-%.2f)", base.Median, base.Low, base.High)
	for i, what := range []string{2: "the same one of", 3: "random ones of"} {
		if what != "" {
			e := estimate(ratios(field[i].ns, field[1].ns))
			s.figure(fmt.Sprintf("connect() to %s %d", what, listeners), median(field[i].ns)/1e3, "us",
				"%.2f x one listener (%.2f-%.2f)", e.Median, e.Low, e.High)
		}
	}
	return s.memory(fmt.Sprintf("agent with %d listeners", listeners), p)
}

// connectCost is one side of that comparison.
type connectCost struct {
	cgroup string
	to     []string
	ns     []float64
}

// measure makes n connects, to all in turn or at random.
func (c *connectCost) measure(ctx context.Context, w *world, n int, how string) error {
	path := filepath.Join(w.dir, "addresses")
	if err := os.WriteFile(path, []byte(strings.Join(c.to, "\n")), 0o600); err != nil {
		return err
	}
	out, err := w.run(ctx, c.cgroup, w.self, "probe", "connect", fmt.Sprint(n), how, path)
	if err != nil {
		return err
	}
	var ns float64
	if err := json.Unmarshal(out, &ns); err != nil {
		return fmt.Errorf("read the probe's result: %w", err)
	}
	c.ns = append(c.ns, ns)
	return nil
}

// edits measures from the renaming of a listener file to the first connection that goes by it.
func (s *scale) edits(ctx context.Context) error {
	other, err := announce("b")
	if err != nil {
		return err
	}
	defer other.Close()
	lds := filepath.Join(s.w.dir, "listeners.yaml")
	write := func(cluster string) error { return writeListeners(lds, cluster) }
	if err := write("a"); err != nil {
		return err
	}
	conf := fmt.Sprintf("node: { id: bench, cluster: bench }\ndynamic_resources: { lds_config: { path_config_source: { path: %s } } }\nstatic_resources:\n  clusters:\n", lds) +
		staticCluster("a", fmt.Sprintf("127.0.1.1:%d", s.port)) +
		staticCluster("b", fmt.Sprintf("127.0.1.1:%d", other.Addr().(*net.TCPAddr).Port))
	_, cgroup, err := s.lone("edits", conf)
	if err != nil {
		return err
	}
	var took []float64
	now, next := "a", "b"
	for range 2 * s.o.rounds {
		changed := s.ask(ctx, cgroup, "change", listenerAddress(editedListeners/2), now)
		// The probe must be at work before the edit.
		time.Sleep(200 * time.Millisecond)
		if err := write(next); err != nil {
			return err
		}
		began := time.Now()
		at, err := changed()
		if err != nil {
			return err
		}
		took = append(took, float64(at.Sub(began).Microseconds())/1e3)
		now, next = next, now
	}
	e := estimate(took)
	s.figure(fmt.Sprintf("edit live with %d listeners", editedListeners), e.Median, "ms", "(%.0f-%.0f)", e.Low, e.High)
	return nil
}

// writeListeners replaces the file: the listener in the middle goes to cluster, all others to a.
func writeListeners(path, cluster string) error {
	var b strings.Builder
	b.WriteString("resources:\n")
	for i := range editedListeners {
		c := "a"
		if i == editedListeners/2 {
			c = cluster
		}
		b.WriteString("- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n" + listener("  ", i, c))
	}
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
