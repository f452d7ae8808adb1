// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/upstream"
)

// A host that fails at run time leaves the rings that the kernel balances over, and comes back to them with the same id.
func TestFailedHostLeavesTheRing(t *testing.T) {
	c := &mesh.Cluster{Name: "c", PanicThreshold: 50, Endpoints: &mesh.Endpoints{Overprovisioning: 140}}
	for i := range 3 {
		c.Endpoints.Endpoints = append(c.Endpoints.Endpoints,
			mesh.Endpoint{Address: netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:80", i+1)), Weight: 1})
	}
	l := &mesh.Listener{Name: "l", Address: netip.MustParseAddrPort("10.1.1.1:80"), Chains: []*mesh.FilterChain{{TCP: &mesh.TCPProxy{
		MaxConnectAttempts: 1, Clusters: []mesh.WeightedCluster{{Name: "c", Weight: 1}}}}}}
	cfg := &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/", Listeners: []*mesh.Listener{l}, Clusters: []*mesh.Cluster{c}}}}
	up := upstream.New(upstream.Options{Log: slog.New(slog.DiscardHandler)})
	up.Set(cfg)
	var tables *table.Tables
	ring := func() (ids string) {
		t.Helper()
		var err error
		if tables, err = table.Compile(tables, table.Input{Config: cfg, Hosts: up.Hosts(), Mode: table.ModeSocket}); err != nil {
			t.Fatal(err)
		}
		for _, s := range tables.Clusters[0].Slots {
			ids += fmt.Sprintf("%d:%s ", s.Endpoint, s.Address.Addr())
		}
		return ids
	}
	all := "1:10.0.0.1 2:10.0.0.2 3:10.0.0.3 "
	if got := ring(); got != all {
		t.Fatalf("ring %q", got)
	}
	id := mesh.ClusterID{Scope: "/", Name: "c"}
	for _, flag := range []mesh.Flags{mesh.FailedOutlierCheck, mesh.FailedActiveCheck} {
		up.Mark(id, c.Endpoints.Endpoints[2].Address, flag, 0)
		if got := ring(); got != "1:10.0.0.1 2:10.0.0.2 " {
			t.Errorf("flag %d: ring %q", flag, got)
		}
		up.Mark(id, c.Endpoints.Endpoints[2].Address, 0, flag)
		if got := ring(); got != all {
			t.Errorf("flag %d gone: ring %q", flag, got)
		}
	}
}
