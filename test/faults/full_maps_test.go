// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// many are n services beside the one at target; all have its server.
func many(n int) []rig.TCPService {
	all := []rig.TCPService{echoService(7001)}
	for i := range n {
		all = append(all, rig.TCPService{Name: fmt.Sprint("many", i), Address: fmt.Sprintf("10.98.%d.%d:80", i/200, i%200+1),
			Endpoints: []string{"127.0.0.1:7001"}})
	}
	return all
}

// A configuration that does not fit is refused whole, with the limit and its flag by name; the last one serves.
func TestFullMap(t *testing.T) {
	wide := echoService()
	for p := 7001; p < 7201; p++ {
		wide.Endpoints = append(wide.Endpoints, fmt.Sprintf("127.0.0.1:%d", p))
	}
	for _, c := range []struct {
		flag     string
		services []rig.TCPService
	}{
		{"--max-listeners", many(200)},
		{"--max-clusters", many(200)},
		{"--max-endpoints", []rig.TCPService{wide}},
	} {
		t.Run(c.flag, func(t *testing.T) {
			r := rig.New(t)
			peer.StartEcho(r, "127.0.0.1:7001")
			a := r.Agent(r.Watched(echoService(7001)), c.flag+"=64")
			clean(t, peer.StartLoad(r, target, 4).Stop())
			idle(r, a)
			size, tables := entries(r), a.MustGet("/leno/tables")
			load := peer.StartLoad(r, target, 4)
			r.Publish(c.services...)
			r.Until(10*time.Second, "the refusal is in the status", func() bool { return a.Status().Kernel.LastError != "" })
			sentence := a.Status().Kernel.LastError
			if !strings.Contains(sentence, c.flag) || !strings.Contains(sentence, "63") {
				t.Errorf("the error does not name the limit and %s: %s", c.flag, sentence)
			}
			if !strings.Contains(a.Output(), c.flag) || a.Stats()["leno.kernel_apply_failed"] != 1 {
				t.Error("the refusal is not in the log or not in the metric")
			}
			load.Progress(20)
			clean(t, load.Stop())
			if now := a.MustGet("/leno/tables"); now != tables {
				t.Errorf("half applied:\n%s\nbefore:\n%s", now, tables)
			}
			returnsTo(r, size)
			r.Publish(echoService(7001))
			r.Until(10*time.Second, "the next good edit clears it", func() bool {
				return a.Status().Kernel.LastError == "" && a.Stats()["leno.kernel_apply_failed"] == 0
			})
			r.Publish(many(40)...)
			r.Until(10*time.Second, "what fits is in force", func() bool { return entries(r)["listeners"] == 41 })
			clean(t, peer.StartLoad(r, "10.98.0.39:80", 2).Stop())
		})
	}
}

// The file given at start does not fit: leno says so and is not ready, and no connection gets past it.
func TestFullMapAtStart(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	a := r.AgentNoWait(r.Write("bootstrap.yaml", rig.Bootstrap(many(200)...)), "--max-listeners=64")
	r.Until(10*time.Second, "the log names the flag, or leno ends", func() bool { return strings.Contains(a.Output(), "--max-listeners") })
	if text, err := a.Get("/ready"); err == nil {
		t.Errorf("ready: %s", text)
	}
}

// With the map of counters full, traffic goes on and is counted as such.
func TestFullCounters(t *testing.T) {
	r := rig.New(t)
	var ports []int
	for p := 7001; p <= 7008; p++ {
		ports = append(ports, p)
		peer.StartEcho(r, fmt.Sprintf("127.0.0.1:%d", p))
	}
	a := r.Agent(r.Write("bootstrap.yaml", rig.Bootstrap(echoService(ports...))), "--max-flows=4")
	load := peer.StartLoad(r, target, 4)
	load.Progress(100)
	clean(t, load.Stop())
	if n := a.Stats()["leno.lost.flow_map_full"]; n == 0 {
		t.Error("leno.lost.flow_map_full is 0: the full map is not reported")
	}
}
