// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// traffic remembers which clusters the kernel has carried connections to. Every health check of a cluster without traffic asks, and
// the kernel's counters are only there as a whole.
type traffic struct {
	mu   sync.Mutex
	read time.Time
	seen map[mesh.ClusterID]bool
}

// readAgain is how old an answer may be: a check that is planned by it comes as if the traffic had begun that much later.
const readAgain = time.Second

// hasTraffic says whether a tier has ever connected to a host of the cluster. Safe for concurrent use.
func (a *Agent) hasTraffic(id mesh.ClusterID) bool {
	if a.proxy.HasTraffic(id) {
		return true
	}
	if a.kernel == nil {
		return false
	}
	t := &a.traffic
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); !t.seen[id] && now.Sub(t.read) >= readAgain {
		t.read, t.seen = now, map[mesh.ClusterID]bool{}
		for _, e := range a.kernel.Endpoints() {
			t.seen[e.Cluster] = t.seen[e.Cluster] || e.CxTotal > 0
		}
	}
	return t.seen[id]
}
