// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
)

func TestFlagsTakeHostsOut(t *testing.T) {
	const up, down = mesh.Healthy, mesh.Unhealthy
	id := mesh.ClusterID{Scope: "/", Name: "c"}
	host := func(i byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 80) }
	u := New(Options{Log: slog.New(slog.DiscardHandler)})
	u.Set(config(static(up, up, up, down)))
	want := func(usable string, panics bool) {
		t.Helper()
		set := u.Hosts().Set(id)
		if got := members(u); got != usable || set.Levels[0].Panic != panics {
			t.Errorf("usable %q, panic %t; want %q, %t", got, set.Levels[0].Panic, usable, panics)
		}
	}
	changed := func() bool {
		select {
		case <-u.Changed():
			return true
		default:
			return false
		}
	}
	want("10.0.0.1:80 10.0.0.2:80 10.0.0.3:80", false)
	before := u.Hosts().Set(id)
	if !u.Mark(id, host(2), mesh.FailedOutlierCheck, 0) || !changed() {
		t.Error("a flag was not taken, or nobody told")
	}
	want("10.0.0.1:80 10.0.0.3:80", false)
	if u.Hosts().Set(id) == before || before.All[1].Flags != 0 || u.Hosts().Set(id).All[1].Flags != mesh.FailedOutlierCheck {
		t.Error("sets are immutable: a change makes a new one")
	}
	if before = u.Hosts().Set(id); !u.Mark(id, host(2), mesh.FailedOutlierCheck, 0) || changed() || u.Hosts().Set(id) != before {
		t.Error("a flag that is there already changes nothing")
	}
	u.Mark(id, host(1), mesh.FailedActiveCheck, 0)
	want("10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 10.0.0.4:80", true) // one of four is left
	u.Mark(id, host(1), mesh.DegradedActiveCheck, mesh.FailedActiveCheck)
	if set := u.Hosts().Set(id); len(set.Levels[0].Degraded) != 1 || len(set.Levels[0].Healthy) != 1 {
		t.Errorf("levels %+v", set.Levels)
	}
	u.Mark(id, host(1), 0, mesh.DegradedActiveCheck)
	want("10.0.0.1:80 10.0.0.3:80", false)
	if u.Mark(id, host(9), mesh.FailedActiveCheck, 0) || u.Mark(mesh.ClusterID{Name: "x"}, host(1), 1, 0) {
		t.Error("a host that is no member took a flag")
	}
	// Who leaves and comes again is new; who stays keeps its flags.
	u.Mark(id, host(3), mesh.FailedOutlierCheck, 0)
	u.Set(config(static(up, up)))
	u.Set(config(static(up, up, up)))
	want("10.0.0.1:80 10.0.0.3:80", false)
}

func TestAddressThatLeavesItsNameIsForgotten(t *testing.T) {
	for _, d := range []mesh.Discovery{mesh.StrictDNS, mesh.LogicalDNS} {
		s := newServer(t)
		s.set("svc.test", "A", "10.0.0.1")
		c := dnsCluster(s, d, mesh.DNSV4Only)
		c.PanicThreshold = 0
		u, want := follow(t, Options{}, c)
		want("10.0.0.1:80")
		u.Mark(mesh.ClusterID{Scope: "/", Name: "c"}, netip.MustParseAddrPort("10.0.0.1:80"), mesh.FailedOutlierCheck, 0)
		want("")
		s.set("svc.test", "A", "10.0.0.2")
		want("10.0.0.2:80")
		s.set("svc.test", "A", "10.0.0.1")
		want("10.0.0.1:80")
	}
}
