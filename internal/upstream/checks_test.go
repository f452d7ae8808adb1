// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

var checkID = mesh.ClusterID{Scope: "/", Name: "c"}

const failedCheck = mesh.FailedActiveCheck

// checkedCluster is an EDS cluster of these hosts. Nothing is ever sent to them: the tests say what came of checks.
func checkedCluster(check *mesh.HealthCheck, hosts ...string) *mesh.Config {
	e := &mesh.Endpoints{Overprovisioning: 140}
	for _, h := range hosts {
		e.Endpoints = append(e.Endpoints, mesh.Endpoint{Address: netip.MustParseAddrPort(h), Weight: 1})
	}
	return &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/", Clusters: []*mesh.Cluster{{Name: "c", Discovery: mesh.EDS, Check: check, Endpoints: e}}}}}
}

// tell says what a check has found.
func tell(t *testing.T, u *Upstream, host string, now mesh.Flags) {
	t.Helper()
	h := u.checkedHost(checkID, netip.MustParseAddrPort(host))
	if h == nil {
		t.Fatalf("%s is not checked", host)
	}
	u.result(checkID, hostKey{checkID, netip.MustParseAddrPort(host)}, h, now, true)
}

func wantHosts(t *testing.T, u *Upstream, what string, ready bool, usable ...string) {
	t.Helper()
	set := u.Hosts().Set(checkID)
	var got []string
	for _, h := range set.Usable {
		got = append(got, h.Address.String())
	}
	if set.Ready != ready || len(got) != len(usable) {
		t.Fatalf("%s: ready %v with %v, want %v with %v", what, set.Ready, got, ready, usable)
	}
	for i := range got {
		if got[i] != usable[i] {
			t.Fatalf("%s: %v, want %v", what, got, usable)
		}
	}
}

func newChecked() *Upstream { return New(Options{Log: slog.New(slog.DiscardHandler)}) }

const blue, green, red = "192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"

func TestCheckedHosts(t *testing.T) {
	check := &mesh.HealthCheck{TCP: &mesh.TCPCheck{}}
	u := newChecked()
	u.Set(checkedCluster(check, blue, green))
	wantHosts(t, u, "before the first round", false)
	tell(t, u, blue, 0)
	wantHosts(t, u, "one of two is known", false)
	tell(t, u, green, failedCheck)
	wantHosts(t, u, "both are known", true, blue)

	u.Set(checkedCluster(check, blue, green, red))
	wantHosts(t, u, "a new host waits for its first check", true, blue)
	tell(t, u, red, 0)
	tell(t, u, green, 0)
	wantHosts(t, u, "all are well", true, blue, green, red)

	u.Set(checkedCluster(check, green, red))
	wantHosts(t, u, "blue leaves and stays", true, green, red, blue)
	if f := u.Hosts().Set(checkID).All[2].Flags; f != mesh.PendingRemoval {
		t.Errorf("flags %b", f)
	}
	tell(t, u, blue, failedCheck)
	wantHosts(t, u, "blue has gone", true, green, red)
	if u.checkedHost(checkID, netip.MustParseAddrPort(blue)) != nil || len(u.marks) != 0 {
		t.Errorf("something of blue is left: %v", u.marks)
	}

	again := *check
	u.Set(checkedCluster(&again, green, blue))
	wantHosts(t, u, "another check: those of before serve", true, green, red)
	tell(t, u, green, failedCheck)
	wantHosts(t, u, "and go on", true, green, red)
	tell(t, u, blue, 0)
	wantHosts(t, u, "until its first round is over", true, blue)

	u.Set(checkedCluster(nil, green, blue))
	wantHosts(t, u, "no checks", true, green, blue)
	if len(u.checkers) != 0 || len(u.marks) != 0 {
		t.Errorf("something is left: %v, %v", u.checkers, u.marks)
	}
}

// The first round is over when those that are not known yet have left.
func TestFirstRoundWithoutHosts(t *testing.T) {
	check := &mesh.HealthCheck{TCP: &mesh.TCPCheck{}}
	u := newChecked()
	u.Set(checkedCluster(check, blue, green))
	tell(t, u, blue, 0)
	u.Set(checkedCluster(check, blue))
	wantHosts(t, u, "only blue is left", true, blue)

	u = newChecked()
	u.Set(checkedCluster(check))
	wantHosts(t, u, "nobody to wait for", true)

	u = New(Options{SkipChecks: true})
	u.Set(checkedCluster(check, blue))
	wantHosts(t, u, "nobody is tried", true, blue)
}

// Sessions run, publish and end with what runs them; hosts that are switched off are not tried.
func TestChecksRun(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	check := &mesh.HealthCheck{Timeout: time.Hour, Interval: time.Hour, NoTrafficInterval: time.Hour, NoTrafficHealthyInterval: time.Hour,
		HealthyThreshold: 1, UnhealthyThreshold: 1, TCP: &mesh.TCPCheck{}}
	cfg := checkedCluster(check, l.Addr().String(), blue)
	cfg.Scopes[0].Clusters[0].Endpoints.Endpoints[1].Check.Disabled = true
	u := newChecked()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = u.Run(ctx) })
	u.Set(cfg)
	for !u.Hosts().Set(checkID).Ready {
		<-u.Changed()
	}
	wantHosts(t, u, "after the first round", true, l.Addr().String(), blue)
	stats := u.Checks()[checkName{Cluster: "c"}]
	if a, h := stats.Attempt.Load(), stats.Healthy.Load(); a != 1 || h != 1 {
		t.Errorf("attempt %d, healthy %d", a, h)
	}
	u.Answered(checkID, netip.MustParseAddrPort(blue)) // nobody listens
	u.Answered(checkID, netip.MustParseAddrPort(l.Addr().String()))
	wantHosts(t, u, "it asked to be left alone", true, blue)
	cancel()
	running.Wait()
	l.Close()
	if h := stats.Healthy.Load(); h != 0 {
		t.Errorf("healthy is %d after the end", h)
	}
}

// With STRICT_DNS a host that has left and fails goes with the next answer, as in Envoy; the corpus does not show it, since it would have to
// be faster than that.
func TestCheckedHostLeavesWithTheNextAnswer(t *testing.T) {
	cfg := &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/", Clusters: []*mesh.Cluster{{Name: "c", Discovery: mesh.StrictDNS,
		Check:     &mesh.HealthCheck{TCP: &mesh.TCPCheck{}},
		Endpoints: &mesh.Endpoints{Overprovisioning: 140, Endpoints: []mesh.Endpoint{{Host: "a.example", Port: 80}}}}}}}}
	u := newChecked()
	k := keyOf(cfg.Scopes[0].Clusters[0], "a.example")
	n := &name{}
	u.names[k] = n
	u.Set(cfg)
	answer := func(addrs ...string) {
		var all []netip.Addr
		for _, a := range addrs {
			all = append(all, netip.MustParseAddr(a))
		}
		u.answer(k, n, all)
	}
	members := func(what string, want int) {
		t.Helper()
		if got := len(u.Hosts().Set(checkID).All); got != want {
			t.Fatalf("%s: %d members, want %d", what, got, want)
		}
	}
	answer("192.0.2.1", "192.0.2.2")
	tell(t, u, blue, 0)
	tell(t, u, green, 0)
	answer("192.0.2.2")
	members("blue leaves and stays", 2)
	tell(t, u, blue, failedCheck)
	members("blue fails", 2)
	wantHosts(t, u, "it is not used", true, green)
	answer("192.0.2.2")
	members("the same answer", 1)
	answer("192.0.2.1", "192.0.2.2")
	tell(t, u, blue, failedCheck)
	answer("192.0.2.2")
	members("a host that failed before it left", 1)
}
