// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/mesh"
)

// heapCounts keeps its words in the process: for an agent without a kernel half.
type heapCounts struct {
	mu       sync.Mutex
	clusters map[mesh.ClusterID]*atomic.Int64
	hosts    map[hostKey]*atomic.Int64
}

type hostKey struct {
	cluster mesh.ClusterID
	host    netip.AddrPort
}

// NewCounts returns words of this process alone.
func NewCounts() Counts {
	return &heapCounts{clusters: map[mesh.ClusterID]*atomic.Int64{}, hosts: map[hostKey]*atomic.Int64{}}
}

func (h *heapCounts) Connections(c mesh.ClusterID) *atomic.Int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return wordOf(h.clusters, c)
}

func (h *heapCounts) Active(c mesh.ClusterID, host netip.AddrPort) *atomic.Int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return wordOf(h.hosts, hostKey{c, host})
}

func wordOf[K comparable](m map[K]*atomic.Int64, k K) *atomic.Int64 {
	w := m[k]
	if w == nil {
		w = new(atomic.Int64)
		m[k] = w
	}
	return w
}
