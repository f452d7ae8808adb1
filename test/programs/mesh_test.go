// SPDX-License-Identifier: Apache-2.0

// Package programs runs real programs, unmodified, on the socket tier: data is
// checked, and counters prove that the kernel placed the connections and the
// agent carried none. Those that speak HTTP run on the proxy tier too, where
// counters prove that the agent carried each request. Most of it needs the
// build tag full.
package programs

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, peer.Children())) }

// mesh is a rig with a running leno.
type mesh struct {
	*rig.Rig
	agent  *rig.Agent
	before rig.Stats
}

// newMesh starts leno with the services and checks that the kernel carries them all.
func newMesh(t *testing.T, services ...rig.TCPService) *mesh {
	t.Helper()
	r := rig.New(t)
	return startMesh(r, services...)
}

func startMesh(r *rig.Rig, services ...rig.TCPService) *mesh {
	r.T.Helper()
	m := &mesh{Rig: r}
	m.agent = r.Agent(r.Write("bootstrap.yaml", rig.Bootstrap(services...)), "--tier=auto")
	for _, l := range m.agent.Status().Listeners {
		if l.Tier != "socket" || l.Error != "" {
			r.T.Fatalf("listener %s is carried by tier %s (%s) %s: want socket", l.Name, l.Tier, l.Why, l.Error)
		}
	}
	m.before = m.agent.Stats()
	return m
}

// socketTier proves that since the start at least so many connections of the service were placed by the kernel,
// that none failed or is still open, and that the agent carried nothing at all.
func (m *mesh) socketTier(service string, atLeast uint64) {
	m.T.Helper()
	cluster := "cluster." + service + "."
	m.Until(20*time.Second, "all connections of "+service+" are closed", func() bool {
		return m.agent.Stats()[cluster+"upstream_cx_active"] == 0
	})
	grown := m.agent.Stats().Since(m.before)
	if n := grown[cluster+"upstream_cx_total"]; n < atLeast {
		m.T.Errorf("%s: %d connections were placed, want at least %d", service, n, atLeast)
	}
	if n := grown[cluster+"upstream_cx_connect_fail"]; n != 0 {
		m.T.Errorf("%s: %d connects failed", service, n)
	}
	for name, n := range grown {
		if strings.HasPrefix(name, "leno.connect.agent") || strings.HasPrefix(name, "leno.connect_refused.") {
			m.T.Errorf("%s grew by %d: the kernel did not place those", name, n)
		}
	}
	if n := grown["leno.connect.endpoint"]; n < atLeast {
		m.T.Errorf("the kernel placed %d connections, want at least %d", n, atLeast)
	}
}
