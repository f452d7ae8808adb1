// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"sort"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/telemetry"
)

func failures(f *kern.CFlow) uint64 {
	x := &f.Failed
	return x.Refused + x.Timedout + x.Unreach + x.Reset + x.Canceled + x.Other
}

// active is how many connections of a row are open or opening.
func active(f *kern.CFlow) uint64 {
	// The parts are read one after the other while they change: never below zero.
	if gone := f.Closed + failures(f); gone < f.Attempted {
		return f.Attempted - gone
	}
	return 0
}

// eachFlow reads all rows of counters. Rows that appear meanwhile may be missed until the next time.
func (d *Dataplane) eachFlow(visit func(kern.CFlowKey, *kern.CFlow)) {
	const batch = 512
	keys, flows := make([]kern.CFlowKey, batch), make([]kern.CFlow, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := d.objs.Flows.BatchLookup(&cursor, keys, flows, nil)
		for i := range n {
			visit(keys[i], &flows[i])
		}
		if err != nil {
			return // ErrKeyNotExist: the end
		}
	}
}

// Endpoints are the counters of every host that a socket-tier connection was given.
func (d *Dataplane) Endpoints() []telemetry.Endpoint {
	var all []telemetry.Endpoint
	d.eachFlow(func(k kern.CFlowKey, f *kern.CFlow) {
		c, ok := d.index.cluster(k.Cluster)
		addr, known := d.index.endpoint(k.Endpoint)
		if !ok || !known {
			return // left by an earlier agent, and not in the configuration any more
		}
		all = append(all, telemetry.Endpoint{Cluster: c.Cluster, Address: addr,
			CxTotal: f.Attempted, CxActive: active(f), CxConnectFail: failures(f),
			RqTotal: f.Attempted, RqActive: active(f), RqSuccess: f.Closed, RqError: failures(f),
			RqTimeout: f.Failed.Timedout, TxBytes: f.TxBytes, RxBytes: f.RxBytes})
	})
	return all
}

// Collect implements telemetry.Source: the socket tier's share of Envoy's statistics, and what only the kernel knows.
func (d *Dataplane) Collect(emit func(telemetry.Sample)) {
	byCluster := map[string]*kern.CFlow{}
	byListener, byFilter := map[string]*kern.CFlow{}, map[string]*kern.CFlow{}
	d.eachFlow(func(k kern.CFlowKey, f *kern.CFlow) {
		if c, ok := d.index.cluster(k.Cluster); ok {
			addFlow(byCluster, c.StatName, f)
		}
		if l, ok := d.index.listener(k.Listener); ok {
			addFlow(byListener, statName(l), f)
			if l.TCPStatPrefix != "" {
				addFlow(byFilter, l.TCPStatPrefix, f)
			}
		}
	})
	for name, f := range byCluster {
		emitCluster(emit, name, f)
	}
	for addr, f := range byListener {
		e := emitter{emit, "listener", "envoy.listener_address", addr}
		e.counter("downstream_cx_total", f.Attempted)
		e.counter("downstream_cx_destroy", f.Closed+failures(f))
		e.gauge("downstream_cx_active", active(f))
		e.histogram("downstream_cx_length_ms", f.LifetimeMs[:], f.LifetimeMsSum)
	}
	for prefix, f := range byFilter {
		e := emitter{emit, "tcp", "envoy.tcp_prefix", prefix}
		e.counter("downstream_cx_total", f.Attempted)
		// What the program sends is what a proxy would have received from it.
		e.counter("downstream_cx_rx_bytes_total", f.TxBytes)
		e.counter("downstream_cx_tx_bytes_total", f.RxBytes)
	}
	d.collectCounters(emit)
}

func addFlow(m map[string]*kern.CFlow, name string, f *kern.CFlow) {
	if m[name] == nil {
		m[name] = &kern.CFlow{}
	}
	sumFlow(m[name], f)
}

func sumFlow(t, f *kern.CFlow) {
	t.Picked += f.Picked
	t.Attempted += f.Attempted
	t.Opened += f.Opened
	t.Closed += f.Closed
	t.Failed.Refused += f.Failed.Refused
	t.Failed.Timedout += f.Failed.Timedout
	t.Failed.Unreach += f.Failed.Unreach
	t.Failed.Reset += f.Failed.Reset
	t.Failed.Canceled += f.Failed.Canceled
	t.Failed.Other += f.Failed.Other
	t.TxBytes += f.TxBytes
	t.RxBytes += f.RxBytes
	t.ConnectUsSum += f.ConnectUsSum
	t.LifetimeMsSum += f.LifetimeMsSum
	for i := range f.ConnectUs {
		t.ConnectUs[i] += f.ConnectUs[i]
		t.LifetimeMs[i] += f.LifetimeMs[i]
	}
}

func emitCluster(emit func(telemetry.Sample), name string, f *kern.CFlow) {
	e := emitter{emit, "cluster", "envoy.cluster_name", name}
	e.counter("upstream_cx_total", f.Attempted)
	e.counter("upstream_cx_connect_fail", failures(f))
	e.counter("upstream_cx_connect_timeout", f.Failed.Timedout)
	e.counter("upstream_cx_destroy", f.Closed+failures(f))
	e.counter("upstream_cx_tx_bytes_total", f.TxBytes)
	e.counter("upstream_cx_rx_bytes_total", f.RxBytes)
	e.gauge("upstream_cx_active", active(f))
	e.histogram("upstream_cx_connect_us", f.ConnectUs[:], f.ConnectUsSum)
	e.histogram("upstream_cx_length_ms", f.LifetimeMs[:], f.LifetimeMsSum)
	leno := emitter{emit, "leno.socket", "envoy.cluster_name", name}
	leno.counter("picked", f.Picked)
	leno.counter("attempted", f.Attempted)
	leno.counter("opened", f.Opened)
	leno.counter("closed", f.Closed)
	for reason, v := range map[string]uint64{"refused": f.Failed.Refused, "timedout": f.Failed.Timedout,
		"unreachable": f.Failed.Unreach, "reset": f.Failed.Reset, "canceled": f.Failed.Canceled, "other": f.Failed.Other} {
		emit(telemetry.Sample{Name: "leno.socket." + name + ".connect_fail." + reason, Base: "leno.socket.connect_fail",
			Labels: []telemetry.Label{{Key: "envoy.cluster_name", Value: name}, {Key: "errno", Value: reason}}, Value: v})
	}
}

// emitter makes samples of one scope, such as cluster.blue.
type emitter struct {
	emit              func(telemetry.Sample)
	scope, tag, value string
}

func (e emitter) sample(leaf string) telemetry.Sample {
	return telemetry.Sample{Name: e.scope + "." + e.value + "." + leaf, Base: e.scope + "." + leaf,
		Labels: []telemetry.Label{{Key: e.tag, Value: e.value}}}
}

func (e emitter) counter(leaf string, v uint64) {
	s := e.sample(leaf)
	s.Value = v
	e.emit(s)
}

func (e emitter) gauge(leaf string, v uint64) {
	s := e.sample(leaf)
	s.Kind, s.Value = telemetry.Gauge, v
	e.emit(s)
}

func (e emitter) histogram(leaf string, buckets []uint32, sum uint64) {
	s := e.sample(leaf)
	s.Kind = telemetry.Histogram
	s.Hist = &telemetry.Hist{Sum: float64(sum)}
	for i, n := range buckets {
		if i < len(buckets)-1 {
			s.Hist.Bounds = append(s.Hist.Bounds, float64(uint64(1)<<i-1))
		}
		s.Hist.Counts = append(s.Hist.Counts, uint64(n))
	}
	e.emit(s)
}

// statName is a listener's name in statistics: its prefix, else its address as Envoy writes it there.
func statName(l *table.Listener) string {
	if l.StatPrefix != "" {
		return l.StatPrefix
	}
	return strings.ReplaceAll(l.Address.String(), ":", "_")
}

// counterNames are the words of enum counter: what, and why.
var counterNames = map[kern.CCounter][2]string{
	kern.CCounterCOUNT_CONNECT_ENDPOINT:       {"connect", "endpoint"},
	kern.CCounterCOUNT_CONNECT_AGENT:          {"connect", "agent"},
	kern.CCounterCOUNT_CONNECT_AGENT_BOUND:    {"connect", "agent_bound_socket"},
	kern.CCounterCOUNT_CONNECT_AGENT_FAMILY:   {"connect", "agent_address_family"},
	kern.CCounterCOUNT_CONNECT_AGENT_NETNS:    {"connect", "agent_namespace"},
	kern.CCounterCOUNT_CONNECT_AGENT_OVERFLOW: {"connect", "agent_max_connections"},
	kern.CCounterCOUNT_REFUSED_NO_ENDPOINT:    {"connect_refused", "no_endpoint"},
	kern.CCounterCOUNT_REFUSED_TOMBSTONE:      {"connect_refused", "tombstone"},
	kern.CCounterCOUNT_REFUSED_AGENT_DEAD:     {"connect_refused", "agent_dead"},
	kern.CCounterCOUNT_REFUSED_NO_PARK:        {"connect_refused", "no_agent_listener"},
	kern.CCounterCOUNT_REFUSED_STALE:          {"connect_refused", "stale_row"},
	kern.CCounterCOUNT_REFUSED_STORAGE:        {"connect_refused", "no_socket_storage"},
	kern.CCounterCOUNT_PASS_AGENT:             {"connect_passed", "agents_own"},
	kern.CCounterCOUNT_PASS_SCOPE:             {"connect_passed", "no_scope"},
	kern.CCounterCOUNT_PASS_LISTENER:          {"connect_passed", "no_listener"},
	kern.CCounterCOUNT_PASS_PROTOCOL:          {"connect_passed", "not_tcp"},
	kern.CCounterCOUNT_PREEXISTING:            {"connections", "preexisting"},
	kern.CCounterCOUNT_FLOW_FULL:              {"lost", "flow_map_full"},
	kern.CCounterCOUNT_PARK_EVENT_LOST:        {"lost", "park_event"},
}

func (d *Dataplane) collectCounters(emit func(telemetry.Sample)) {
	for id, words := range counterNames {
		var perCPU []uint64
		if err := d.objs.Counters.Lookup(uint32(id), &perCPU); err != nil {
			continue // an array's row: cannot be missing while the map is open
		}
		var sum uint64
		for _, v := range perCPU {
			sum += v
		}
		base := "leno." + words[0]
		emit(telemetry.Sample{Name: base + "." + words[1], Base: base,
			Labels: []telemetry.Label{{Key: "reason", Value: words[1]}}, Value: sum})
	}
}

// Status says what is attached, who else is there, and how full the maps are.
func (d *Dataplane) Status() status.Kernel {
	d.mu.Lock()
	defer d.mu.Unlock()
	var k status.Kernel
	seen := map[string]bool{}
	for _, a := range d.attached {
		if !seen[a.cgroup] {
			seen[a.cgroup] = true
			k.Attached = append(k.Attached, a.cgroup)
		}
	}
	k.Foreign = d.foreign()
	for what, why := range d.missing {
		k.Missing = append(k.Missing, what+": "+why)
	}
	sort.Strings(k.Missing)
	if d.applied != nil {
		for _, l := range d.limits(d.applied) {
			k.Maps = append(k.Maps, status.Map{Name: l.what + "s", Used: l.used, Max: l.max, Flag: l.flag})
		}
	}
	flows := uint32(0)
	d.eachFlow(func(kern.CFlowKey, *kern.CFlow) { flows++ })
	k.Maps = append(k.Maps, status.Map{Name: "flows", Used: flows, Max: d.objs.Flows.MaxEntries(), Flag: "--max-flows"})
	return k
}
