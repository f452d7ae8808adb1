// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// The agent is killed again and again under load. Connections open and go on as if it were there; every one of them is
// counted, also those of the time without an agent; ids and map sizes stay.
func TestAgentKilled(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	peer.StartEcho(r, "127.0.0.1:7002")
	config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001, 7002)))
	a := r.Agent(config)
	clean(t, peer.StartLoad(r, target, 4).Stop())
	start := idle(r, a)
	size, tables := entries(r), a.MustGet("/leno/tables")

	steady := peer.StartSteady(r, target)
	load := peer.StartLoad(r, target, 8)
	for range rounds {
		a.Kill()
		load.Progress(30)
		steady.Progress(5)
		a = r.Agent(config)
		load.Progress(30)
		if now := a.MustGet("/leno/tables"); now != tables {
			t.Fatalf("the tables changed over a restart:\n%s\nbefore:\n%s", now, tables)
		}
	}
	rep := load.Stop()
	clean(t, rep)
	clean(t, steady.Stop())
	grown := idle(r, a).Since(start)
	if got, want := grown["cluster.echo.upstream_cx_total"], rep.OK+1; got != want {
		t.Errorf("%d connections counted, %d made", got, want)
	}
	returnsTo(r, size)
}

// As above with SIGTERM: a stop opens no gap either.
func TestAgentTerminated(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))
	a := r.Agent(config)
	load := peer.StartLoad(r, target, 4)
	for range rounds / 2 {
		if status := a.Terminate(20 * time.Second); status != 0 {
			t.Errorf("SIGTERM: exit status %d", status)
		}
		load.Progress(30)
		a = r.Agent(config)
		load.Progress(30)
	}
	clean(t, load.Stop())
	idle(r, a)
}

// A start during the life of another configuration takes the pins over and serves the new one; what stayed keeps its ids.
func TestRestartWithAnotherFile(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	peer.StartEcho(r, "127.0.0.1:7002")
	other := rig.TCPService{Name: "a-before-echo", Address: "10.99.0.2:7", Endpoints: []string{"127.0.0.1:7002"}}
	a := r.Agent(r.Write("one.yaml", rig.Bootstrap(echoService(7001))))
	load := peer.StartLoad(r, target, 4)
	load.Progress(50)
	a.Kill()
	a = r.Agent(r.Write("two.yaml", rig.Bootstrap(other, echoService(7001))))
	clean(t, peer.StartLoad(r, other.Address, 2).Stop())
	load.Progress(50)
	a.Kill()
	a = r.Agent(r.Write("three.yaml", rig.Bootstrap(echoService(7001))))
	load.Progress(50)
	rep := load.Stop()
	clean(t, rep)
	if got := idle(r, a)["cluster.echo.upstream_cx_total"]; got != rep.OK {
		t.Errorf("%d connections counted, %d made: the counters' ids changed", got, rep.OK)
	}
}

// Until the agent that starts knows more, the endpoints serve on that the one before has left: here its first health check
// waits for an answer that never comes.
func TestRestartBeforeTheFirstCheck(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	config := rig.Bootstrap(echoService(7001))
	a := r.Agent(r.Write("one.yaml", config))
	load := peer.StartLoad(r, target, 4)
	load.Progress(30)
	a.Kill()
	a = r.AgentNoWait(r.Write("two.yaml", strings.Replace(config, "    type: STATIC\n", `    type: STATIC
    health_checks: [{timeout: 100s, interval: 100s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {receive: [{text: "00"}]}}]
`, 1)))
	r.Until(20*time.Second, "the tables of the second agent", func() bool {
		tables, err := a.Get("/leno/tables")
		return err == nil && strings.Contains(tables, "echo")
	})
	load.Progress(50)
	if s := a.Status(); s.State != status.Initializing {
		t.Errorf("%v before the first check has ended", s.State)
	}
	clean(t, load.Stop())
}

// The agent is killed at any moment of its start, first on new pins and then on those that serve.
func TestAgentKilledWhileStarting(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))
	start := time.Now()
	a := r.Agent(config)
	full := time.Since(start)
	a.Kill()
	r.Run(20*time.Second, r.Command("down"))
	killAt := func(i int) {
		a := r.AgentNoWait(config)
		time.Sleep(full * time.Duration(i) / (4 * rounds))
		a.Kill()
	}
	for i := range 4 * rounds {
		killAt(i)
		r.Run(20*time.Second, r.Command("down"))
	}
	for i := range 4 * rounds {
		killAt(i) // each begins with what the one before left
	}
	a = r.Agent(config)
	clean(t, peer.StartLoad(r, target, 2).Stop())
	idle(r, a)
	size, tables := entries(r), a.MustGet("/leno/tables")
	load, steady := peer.StartLoad(r, target, 4), peer.StartSteady(r, target)
	a.Kill()
	for i := range 4 * rounds {
		killAt(i)
		load.Progress(5)
		steady.Progress(1)
	}
	a = r.Agent(config)
	clean(t, load.Stop())
	clean(t, steady.Stop())
	idle(r, a)
	if now := a.MustGet("/leno/tables"); now != tables {
		t.Errorf("the tables changed:\n%s\nbefore:\n%s", now, tables)
	}
	returnsTo(r, size)
}

// Through the proxy tier a dead agent is felt: connections break or are refused at once. But nothing hangs, no byte is
// wrong, the next agent serves, and what the dead ones had in flight does not count against the limit for ever.
func TestAgentKilledProxyTier(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	service := echoService(7001)
	service.MaxConnections = 30
	config := r.Write("bootstrap.yaml", rig.Bootstrap(service))
	a := r.Agent(config, "--tier=proxy")
	load := peer.StartLoad(r, target, 8)
	for range rounds {
		a.Kill()
		a = r.Agent(config, "--tier=proxy")
		load.Progress(20)
	}
	rep := load.Stop()
	if rep.Wrong != 0 {
		t.Errorf("load: %+v", rep)
	}
	onlyBroken(t, rep)
	idle(r, a)
	clean(t, peer.StartLoad(r, target, 8).Stop())
}
