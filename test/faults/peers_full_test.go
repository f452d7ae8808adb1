// SPDX-License-Identifier: Apache-2.0

//go:build full

package faults

import (
	"testing"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// Clients die with their connections open: each is counted as closed, and nothing of them stays.
func TestClientsKilled(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	service := echoService(7001)
	service.MaxConnections = 40 // a leak would reach it
	a := r.Agent(r.Write("bootstrap.yaml", rig.Bootstrap(service)))
	witness := peer.StartLoad(r, target, 2)
	clean(t, peer.StartLoad(r, target, 8).Stop())
	size := entries(r)
	for range 2 * rounds {
		load := peer.StartLoad(r, target, 8)
		load.Kill()
	}
	clean(t, witness.Stop())
	idle(r, a)
	sameSize(t, size, entries(r))
}

// Servers die under load: connections break or are refused, as without leno, but no byte is wrong, nothing hangs, and
// what the servers left is counted as closed.
func TestServersKilled(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	mortal := peer.StartEcho(r, "127.0.0.1:7002")
	a := r.Agent(r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001, 7002))))
	load := peer.StartLoad(r, target, 8)
	size := entries(r)
	for range rounds {
		mortal.Kill()
		load.Progress(20)
		mortal = peer.StartEcho(r, "127.0.0.1:7002")
		load.Progress(20)
	}
	rep := load.Stop()
	if rep.Wrong != 0 {
		t.Errorf("load: %+v", rep)
	}
	for kind, n := range rep.Errors {
		switch kind {
		case "connection refused", "connection reset by peer", "broken pipe", "early end":
		default:
			t.Errorf("%d connections failed by %q, which a dead server does not explain: %s", n, kind, rep.First)
		}
	}
	grown := idle(r, a)
	if n := grown["cluster.echo.upstream_cx_connect_fail"]; n == 0 {
		t.Error("no failed connect was counted")
	}
	sameSize(t, size, entries(r))
	clean(t, peer.StartLoad(r, target, 4).Stop())
}

// Everybody at once.
func TestAllKilled(t *testing.T) {
	r := rig.New(t)
	config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))
	server := peer.StartEcho(r, "127.0.0.1:7001")
	a := r.Agent(config)
	size := entries(r)
	for range rounds {
		load := peer.StartLoad(r, target, 8)
		server.Kill()
		a.Kill()
		load.Kill()
		server = peer.StartEcho(r, "127.0.0.1:7001")
		a = r.Agent(config)
	}
	clean(t, peer.StartLoad(r, target, 4).Stop())
	idle(r, a)
	after := entries(r)
	after["flows"]-- // the first connection made it
	sameSize(t, size, after)
}
