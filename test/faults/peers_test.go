// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"testing"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// inBothTiers runs a test with the kernel placing the connections, and with the agent carrying them; carried checks at
// the end that it was so.
func inBothTiers(t *testing.T, f func(t *testing.T, tier string)) {
	for _, tier := range []string{"auto", "proxy"} {
		t.Run(tier, func(t *testing.T) { f(t, tier) })
	}
}

func carried(t *testing.T, stats rig.Stats, tier string) {
	t.Helper()
	kernel, agent := stats["leno.connect.endpoint"], stats["leno.connect.agent"]
	if tier == "proxy" && (kernel != 0 || agent == 0) || tier != "proxy" && (kernel == 0 || agent != 0) {
		t.Errorf("--tier=%s: the kernel placed %d connections and the agent carried %d", tier, kernel, agent)
	}
}

// Clients die with their connections open: each is counted as closed, and nothing of them stays.
func TestClientsKilled(t *testing.T) {
	inBothTiers(t, func(t *testing.T, tier string) {
		r := rig.New(t)
		peer.StartEcho(r, "127.0.0.1:7001")
		service := echoService(7001)
		service.MaxConnections = 40 // a leak would reach it
		a := r.Agent(r.Write("bootstrap.yaml", rig.Bootstrap(service)), "--tier="+tier)
		clean(t, peer.StartLoad(r, target, 8).Stop())
		idle(r, a)
		size, files := entries(r), descriptors(r, a)
		witness := peer.StartLoad(r, target, 2)
		for range 2 * rounds {
			load := peer.StartLoad(r, target, 8)
			load.Kill()
		}
		clean(t, witness.Stop())
		stats := idle(r, a)
		carried(t, stats, tier)
		if n := stats["leno.connect.agent_max_connections"]; n != 0 {
			t.Errorf("%d connects met the limit of connections: the dead count as alive", n)
		}
		returnsTo(r, size)
		sameDescriptors(r, a, files)
	})
}

// Servers die under load: connections break or are refused, as without leno, but no byte is wrong, nothing hangs, and
// what the servers left is counted as closed.
func TestServersKilled(t *testing.T) {
	inBothTiers(t, func(t *testing.T, tier string) {
		r := rig.New(t)
		peer.StartEcho(r, "127.0.0.1:7001")
		mortal := peer.StartEcho(r, "127.0.0.1:7002")
		a := r.Agent(r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001, 7002))), "--tier="+tier)
		clean(t, peer.StartLoad(r, target, 8).Stop())
		idle(r, a)
		size, files := entries(r), descriptors(r, a)
		load := peer.StartLoad(r, target, 8)
		for range rounds {
			mortal.Kill()
			load.Progress(20)
			mortal = peer.StartEcho(r, "127.0.0.1:7002")
			load.Progress(20)
		}
		onlyBroken(t, load.Stop())
		stats := idle(r, a)
		carried(t, stats, tier)
		if n := stats["cluster.echo.upstream_cx_connect_fail"]; n == 0 {
			t.Error("no failed connect was counted")
		}
		returnsTo(r, size)
		sameDescriptors(r, a, files)
		clean(t, peer.StartLoad(r, target, 4).Stop())
	})
}

// Everybody at once.
func TestAllKilled(t *testing.T) {
	inBothTiers(t, func(t *testing.T, tier string) {
		r := rig.New(t)
		config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))
		server := peer.StartEcho(r, "127.0.0.1:7001")
		a := r.Agent(config, "--tier="+tier)
		clean(t, peer.StartLoad(r, target, 4).Stop())
		idle(r, a)
		size := entries(r)
		for range rounds {
			load := peer.StartLoad(r, target, 8)
			server.Kill()
			a.Kill()
			load.Kill()
			server = peer.StartEcho(r, "127.0.0.1:7001")
			a = r.Agent(config, "--tier="+tier)
		}
		clean(t, peer.StartLoad(r, target, 4).Stop())
		carried(t, idle(r, a), tier)
		returnsTo(r, size)
	})
}
