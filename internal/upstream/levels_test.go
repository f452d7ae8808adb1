// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
)

// TestSplit holds what can be balanced as one list: whoever does (the socket tier) relies on it.
func TestSplit(t *testing.T) {
	host := func(port uint16, priority uint32, zone string, health mesh.Health) *mesh.Host {
		return &mesh.Host{Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port), Weight: 1, Priority: priority,
			Locality: mesh.Locality{Zone: zone}, Health: health}
	}
	const up, down, weak = mesh.Healthy, mesh.Unhealthy, mesh.Degraded
	for _, tc := range []struct {
		name     string
		weighted bool
		hosts    []*mesh.Host
		split    bool
		usable   int
	}{
		{"one list", false, []*mesh.Host{host(1, 0, "a", up), host(2, 0, "a", up)}, false, 2},
		{"zones without weights", false, []*mesh.Host{host(1, 0, "a", up), host(2, 0, "b", up)}, false, 2},
		{"zones with weights", true, []*mesh.Host{host(1, 0, "a", up), host(2, 0, "b", up)}, true, 2},
		{"one zone with weights", true, []*mesh.Host{host(1, 0, "a", up), host(2, 0, "a", up)}, false, 2},
		{"a priority that is not needed", false, []*mesh.Host{host(1, 0, "a", up), host(2, 1, "a", up)}, false, 1},
		{"its zones do not matter", true, []*mesh.Host{host(1, 0, "a", up), host(2, 1, "a", up), host(3, 1, "b", up)}, false, 1},
		{"two priorities", false, []*mesh.Host{host(1, 0, "a", up), host(2, 0, "a", down), host(3, 1, "a", up)}, true, 2},
		{"only the second", false, []*mesh.Host{host(1, 0, "a", down), host(2, 1, "a", up)}, false, 1},
		{"the zones of the second", true, []*mesh.Host{host(1, 0, "a", down), host(2, 1, "a", up), host(3, 1, "b", up)}, true, 2},
		{"healthy and degraded", false, []*mesh.Host{host(1, 0, "a", up), host(2, 0, "a", weak)}, true, 2},
		{"panic", false, []*mesh.Host{host(1, 0, "a", up), host(2, 0, "a", down), host(3, 0, "a", down)}, false, 3},
	} {
		set := &mesh.HostSet{All: tc.hosts}
		judge(set, &mesh.Cluster{PanicThreshold: 50, Endpoints: &mesh.Endpoints{Overprovisioning: 140},
			Balancing: mesh.Balancing{LocalityWeighted: tc.weighted}}, nil)
		if set.Split != tc.split || len(set.Usable) != tc.usable {
			t.Errorf("%s: split %v with %d usable hosts, want %v with %d", tc.name, set.Split, len(set.Usable), tc.split, tc.usable)
		}
	}
}
