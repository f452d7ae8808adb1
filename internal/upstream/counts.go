// SPDX-License-Identifier: Apache-2.0

// Package upstream knows where the endpoints of clusters are just now: it
// resolves names, applies configured health, ejects hosts that fail and
// publishes immutable mesh.Hosts. It does not choose among them (each tier balances for itself)
// and does not carry traffic.
package upstream

import (
	"net/netip"
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Counts hands out the words that say how much is in flight. All tiers add to the same words, so that limits and
// least-request balancing see the whole load. A word stays valid for the life of the process; callers add and
// subtract symmetrically. Safe for concurrent use.
type Counts interface {
	// Connections open or opening to all hosts of the cluster.
	Connections(c mesh.ClusterID) *atomic.Int64
	// Active requests or TCP connections at one host of the cluster.
	Active(c mesh.ClusterID, host netip.AddrPort) *atomic.Int64
}
