// SPDX-License-Identifier: Apache-2.0

// Package faults kills, breaks and overfills: the agent, clients, servers,
// files and maps, under load. What must hold: nothing hangs, no byte is wrong,
// no map entry leaks, and no socket-tier connection fails because of the
// agent. The loops need the build tag full.
package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, peer.Children())) }

const target = "10.99.0.1:7"

// echoService is a service at target with echo servers at these ports of loopback.
func echoService(ports ...int) rig.TCPService {
	s := rig.TCPService{Name: "echo", Address: target}
	for _, p := range ports {
		s.Endpoints = append(s.Endpoints, fmt.Sprintf("127.0.0.1:%d", p))
	}
	return s
}

// idle waits until the kernel counts no open connection and returns the counters.
func idle(r *rig.Rig, a *rig.Agent) rig.Stats {
	r.T.Helper()
	r.Until(20*time.Second, "no connection is active", func() bool {
		return a.Stats()["cluster.echo.upstream_cx_active"] == 0
	})
	return a.Stats()
}

// entries is how many rows the kernel maps hold, read from the pins.
func entries(r *rig.Rig) map[string]uint32 {
	r.T.Helper()
	n := map[string]uint32{}
	for _, name := range []string{"listeners", "targets", "clusters", "parks", "flows", "scopes", "locals"} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(r.Pins, "maps", name), nil)
		if err != nil {
			r.T.Fatalf("open the pinned map %s: %v", name, err)
		}
		key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
		it := m.Iterate() // of a map of maps: its filled places
		for it.Next(&key, &value) {
			n[name]++
		}
		m.Close()
		if err := it.Err(); err != nil {
			r.T.Fatalf("read the pinned map %s: %v", name, err)
		}
	}
	return n
}

// sameSize fails the test for each map that is fuller than it was.
func sameSize(t testing.TB, before, after map[string]uint32) {
	t.Helper()
	for name, n := range after {
		if n > before[name] {
			t.Errorf("map %s leaks: %d entries, %d before", name, n, before[name])
		}
	}
}

// clean fails the test if anything went wrong in a load.
func clean(t testing.TB, rep peer.Report) {
	t.Helper()
	if rep.Failed != 0 || rep.Wrong != 0 || rep.OK == 0 {
		t.Errorf("load: %+v", rep)
	}
}
