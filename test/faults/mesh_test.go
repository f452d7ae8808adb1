// SPDX-License-Identifier: Apache-2.0

// Package faults kills, breaks and overfills: the agent, clients, servers,
// files, maps and the system below, under load. What must hold: nothing hangs,
// no byte is wrong, no map entry leaks, and no socket-tier connection fails
// because of the agent. The build tag full makes the loops longer.
package faults

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, children(peer.Children()))) }

const target = "10.99.0.1:7"

// echoService is a service at target with echo servers at these ports of loopback.
func echoService(ports ...int) rig.TCPService {
	s := rig.TCPService{Name: "echo", Address: target}
	for _, p := range ports {
		s.Endpoints = append(s.Endpoints, fmt.Sprintf("127.0.0.1:%d", p))
	}
	return s
}

// idle waits until no connection of the service is open in any tier and returns the counters.
func idle(r *rig.Rig, a *rig.Agent) rig.Stats {
	r.T.Helper()
	r.Until(20*time.Second, "no connection is active", func() bool {
		return a.Stats()["cluster.echo.upstream_cx_active"] == 0
	})
	return a.Stats()
}

// entries is how many rows the kernel maps hold, read from the pins; of the arrays that count what is in flight, how
// many words are not 0.
func entries(r *rig.Rig) map[string]int {
	r.T.Helper()
	n := map[string]int{}
	for _, name := range []string{"listeners", "parks", "flows", "scopes", "locals"} {
		n[name] = rows(r, name, func([]byte) bool { return true })
	}
	for _, name := range []string{"cluster_active", "endpoint_active"} {
		n[name] = words(r, name)
	}
	// Which places of the maps of maps are filled: to look there costs milliseconds each before Linux 6.8.
	n["targets"] = filled[uint32](r, "target_ids")
	n["clusters"] = filled[[32]byte](r, "cluster_names")
	return n
}

func pinned(r *rig.Rig, name string) *ebpf.Map {
	r.T.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(r.Pins, "maps", name), nil)
	if err != nil {
		r.T.Fatalf("open the pinned map %s: %v", name, err)
	}
	return m
}

// rows counts the rows of a pinned map whose value counts.
func rows(r *rig.Rig, name string, counts func(value []byte) bool) int {
	r.T.Helper()
	m := pinned(r, name)
	defer m.Close()
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	n := 0
	it := m.Iterate()
	for it.Next(&key, &value) {
		if counts(value) {
			n++
		}
	}
	if err := it.Err(); err != nil {
		r.T.Fatalf("read the pinned map %s: %v", name, err)
	}
	return n
}

// words counts the words of a pinned array that are not 0.
func words(r *rig.Rig, name string) int {
	r.T.Helper()
	return filled[uint64](r, name)
}

// filled counts the values of a pinned array that are not zero.
func filled[V comparable](r *rig.Rig, name string) int {
	r.T.Helper()
	m := pinned(r, name)
	defer m.Close()
	keys, values := make([]uint32, m.MaxEntries()), make([]V, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	got, err := m.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // which says that the end was reached
		r.T.Fatalf("read the pinned map %s: %v", name, err)
	}
	if got != len(values) {
		r.T.Fatalf("read %d words of the pinned map %s, it has %d", got, name, len(values))
	}
	n := 0
	for _, v := range values {
		if v != *new(V) {
			n++
		}
	}
	return n
}

// openFlows counts the rows of counters that hold a connection which was opened and not closed.
func openFlows(r *rig.Rig) int {
	r.T.Helper()
	// struct flow of bpf/types.h: picked, attempted, opened, closed.
	word := func(b []byte, i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	return rows(r, "flows", func(b []byte) bool { return word(b, 2) != word(b, 3) })
}

// returnsTo waits until no map is fuller than it was: what has gone from the configuration is removed some seconds later.
func returnsTo(r *rig.Rig, before map[string]int) {
	r.T.Helper()
	deadline := time.Now().Add(rig.Slow(15 * time.Second))
	for {
		now := entries(r)
		leaks := ""
		for name, n := range now {
			if n > before[name] {
				leaks += fmt.Sprintf("\nmap %s: %d entries, %d before", name, n, before[name])
			}
		}
		if leaks == "" {
			break
		}
		if time.Now().After(deadline) {
			r.T.Errorf("entries leak:%s", leaks)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	if n := openFlows(r); n != 0 {
		r.T.Errorf("%d rows of counters hold connections that are open for ever", n)
	}
}

// descriptors is how many files the agent has open.
func descriptors(r *rig.Rig, a *rig.Agent) int {
	r.T.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.PID()))
	if err != nil {
		r.T.Fatal(err)
	}
	return len(all)
}

// sameDescriptors waits until the agent has no more files open than before.
func sameDescriptors(r *rig.Rig, a *rig.Agent, before int) {
	r.T.Helper()
	r.Until(10*time.Second, fmt.Sprintf("the agent has no more than %d files open", before), func() bool {
		return descriptors(r, a) <= before
	})
}

// clean fails the test if anything went wrong in a load.
func clean(t testing.TB, rep peer.Report) {
	t.Helper()
	if rep.Failed != 0 || rep.Wrong != 0 || rep.OK == 0 {
		t.Errorf("load: %+v", rep)
	}
}

// onlyBroken fails the test if a load met anything but connections that broke or were refused: nothing hung, and no
// byte was wrong.
func onlyBroken(t testing.TB, rep peer.Report) {
	t.Helper()
	if rep.Wrong != 0 || rep.OK == 0 {
		t.Errorf("load: %+v", rep)
	}
	for kind, n := range rep.Errors {
		switch kind {
		case "connection refused", "connection reset by peer", "broken pipe", "early end":
		case "transport endpoint is not connected": // shutdown after a reset
		default:
			t.Errorf("%d connections failed by %q, which a death does not explain: %s", n, kind, rep.First)
		}
	}
}
