// SPDX-License-Identifier: Apache-2.0

//go:build full

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// takesEffect waits until the cluster's endpoint is the one with this port.
func takesEffect(r *rig.Rig, a *rig.Agent, port int) {
	r.T.Helper()
	r.Until(10*time.Second, fmt.Sprintf("the endpoint of port %d is in force", port), func() bool {
		return strings.Contains(a.MustGet("/clusters"), fmt.Sprintf("echo::127.0.0.1:%d::", port))
	})
}

// Endpoints move between two servers under load: no connection fails, and each edit takes effect.
func TestEditsUnderLoad(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	peer.StartEcho(r, "127.0.0.1:7002")
	a := r.Agent(r.Watched(echoService(7001)))
	load := peer.StartLoad(r, target, 8)
	for i := range 2 * rounds {
		port := 7001 + (i+1)%2
		r.Publish(echoService(port))
		takesEffect(r, a, port)
		load.Progress(10)
	}
	size := entries(r)
	// A burst of edits, most of which nobody will ever see.
	for i := range 100 {
		r.Publish(echoService(7001+i%2), rig.TCPService{Name: fmt.Sprint("other", i), Address: "10.99.0.9:80"})
	}
	r.Publish(echoService(7001))
	r.Until(10*time.Second, "the last edit is in force", func() bool {
		text := a.MustGet("/clusters")
		return strings.Contains(text, "echo::127.0.0.1:7001::") && !strings.Contains(text, "other")
	})
	load.Progress(20)
	clean(t, load.Stop())
	idle(r, a)
	sameSize(t, size, entries(r))
}

// Bad edits leave the last good configuration in force and are named; a good one clears them.
func TestBadEdits(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	peer.StartEcho(r, "127.0.0.1:7002")
	a := r.Agent(r.Watched(echoService(7001)))
	cds := filepath.Join(r.Dir, "cds.yaml")
	good, err := os.ReadFile(cds)
	if err != nil {
		t.Fatal(err)
	}
	load := peer.StartLoad(r, target, 4)
	bad := []struct{ name, text string }{
		{"not YAML", "resources: ["},
		{"half written", string(good[:len(good)-12])},
		{"invalid UTF-8", strings.Replace(string(good), "lb_policy", "\xfe\xff", 1)},
		{"empty", ""},
		{"invalid value", strings.Replace(string(good), "ROUND_ROBIN", "NO_SUCH_POLICY", 1)},
		{"50 MB", string(good) + "# " + strings.Repeat("x", 50<<20) + "\n  ]"},
	}
	for i, b := range bad {
		r.Write("cds.yaml", b.text)
		r.Until(20*time.Second, b.name+": the status names the problem", func() bool { return len(a.Status().Problems) > 0 })
		load.Progress(20)
		port := 7001 + (i+1)%2
		r.Publish(echoService(port))
		takesEffect(r, a, port)
		r.Until(10*time.Second, b.name+": the good edit clears it", func() bool { return len(a.Status().Problems) == 0 })
	}
	// A deleted file changes nothing, and its return is seen.
	if err := os.Remove(cds); err != nil {
		t.Fatal(err)
	}
	load.Progress(20)
	r.Publish(echoService(7001))
	takesEffect(r, a, 7001)
	clean(t, load.Stop())
}

// A configuration that does not fit is refused whole, with the limit and its flag by name; the last one serves.
func TestFullMap(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	a := r.Agent(r.Watched(echoService(7001)), "--max-listeners=64", "--max-clusters=64")
	load := peer.StartLoad(r, target, 4)
	many := []rig.TCPService{echoService(7001)}
	for i := range 200 {
		many = append(many, rig.TCPService{Name: fmt.Sprint("many", i), Address: fmt.Sprintf("10.98.0.%d:80", i+1),
			Endpoints: []string{"127.0.0.1:7001"}})
	}
	size := entries(r)
	r.Publish(many...)
	r.Until(10*time.Second, "the refusal is in the status", func() bool { return a.Status().Kernel.LastError != "" })
	if text := a.Status().Kernel.LastError; !strings.Contains(text, "--max-") {
		t.Errorf("the error does not name the flag: %s", text)
	}
	load.Progress(20)
	sameSize(t, size, entries(r))
	r.Publish(echoService(7001))
	r.Until(10*time.Second, "the next good edit clears it", func() bool { return a.Status().Kernel.LastError == "" })
	r.Publish(many[:40]...)
	r.Until(10*time.Second, "what fits is in force", func() bool { return entries(r)["listeners"] >= 40 })
	clean(t, peer.StartLoad(r, "10.98.0.39:80", 2).Stop())
	clean(t, load.Stop())
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
