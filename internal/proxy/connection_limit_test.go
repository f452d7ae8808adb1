// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// limited is a proxy that echoes on one connection at a time.
func limited(t *testing.T, delay time.Duration, chain mesh.FilterChain) (*rig, netip.AddrPort) {
	t.Helper()
	at := freeAddress(t)
	r := newRig(t, time.Second)
	chain.Limits = []*mesh.ConnectionLimit{{StatPrefix: "l", Max: 1, Delay: delay}}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{listenerOf(at, &chain)}})
	return r, at
}

func TestConnectionLimitKeepsWhomItTurnsAway(t *testing.T) {
	const delay = 300 * time.Millisecond
	r, at := limited(t, delay, mesh.FilterChain{Echo: true})
	first := dial(t, at)
	first.send("a")
	if b, err := first.r.ReadByte(); err != nil || b != 'a' {
		t.Fatalf("got %q, %v", b, err)
	}
	begun := time.Now()
	second := dial(t, at)
	second.send("b")
	second.ends()
	if took := time.Since(begun); took < delay {
		t.Errorf("ended after %v, want %v at least", took, delay)
	}
	first.Close()
	eventually(t, "nobody is left", func() bool { return r.stat("connection_limit.l.active_connections") == 0 })
	if n := r.stat("connection_limit.l.limited_connections"); n != 1 {
		t.Errorf("limited %d", n)
	}
	third := dial(t, at)
	third.send("c")
	if b, err := third.r.ReadByte(); err != nil || b != 'c' {
		t.Errorf("after the first: %q, %v", b, err)
	}
}

// Whoever goes by himself makes room at once.
func TestConnectionLimitForgetsWhoHasGone(t *testing.T) {
	r, at := limited(t, time.Minute, mesh.FilterChain{Echo: true})
	first := dial(t, at)
	eventually(t, "the first is in", func() bool { return r.stat("connection_limit.l.active_connections") == 1 })
	second := dial(t, at)
	eventually(t, "the second waits", func() bool { return r.stat("connection_limit.l.active_connections") == 2 })
	second.Close()
	first.Close()
	eventually(t, "nobody is left", func() bool { return r.stat("connection_limit.l.active_connections") == 0 })
}
