// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/mesh"
)

// flight is what a cluster has under way in one priority, for the breakers (Envoy: resource_manager_impl.h).
type flight struct {
	cluster                    *cluster
	priority                   mesh.Priority
	pending, requests, retries gauge
	high                       gauge       // connections of HIGH; other tiers have only DEFAULT
	budgeted                   atomic.Bool // a retry budget was asked
	tcp                        sync.Mutex  // held from the look at max_connections until a TCP connection is counted or waits
}

// limits are the breakers as configured now.
func (f *flight) limits() *mesh.Breakers { return f.cluster.view.Load().config.BreakersOf(f.priority) }

// connections is the word of what is open or opening.
func (f *flight) connections() *gauge {
	if f.priority == mesh.PriorityHigh {
		return &f.high
	}
	return f.cluster.counts.Connections(f.cluster.id)
}

// maxRetries is how many retries may run at once.
func (f *flight) maxRetries() uint32 {
	b := f.limits()
	if b.Budget == nil {
		return b.MaxRetries
	}
	inFlight := f.requests.Load() + f.pending.Load()
	return max(uint32(b.Budget.Percent/100*float64(max(inFlight, 0))), b.Budget.MinConcurrency)
}

// retry takes room for one more; false: there is none.
func (f *flight) retry() bool {
	if f.limits().Budget != nil {
		f.budgeted.Store(true)
	}
	return take(&f.retries, f.maxRetries())
}

// collect emits the gauges of the breakers; the names of priorities are Envoy's.
func (f *flight) collect(e scope) {
	b := f.limits()
	prefix := "circuit_breakers." + [...]string{mesh.PriorityDefault: "default", mesh.PriorityHigh: "high"}[f.priority] + "."
	connections, pending, requests := f.connections().Load(), f.pending.Load(), f.requests.Load()
	e.value64(prefix+"cx_open", open(connections, b.MaxConnections))
	e.value64(prefix+"rq_open", open(requests, b.MaxRequests))
	e.value64(prefix+"rq_retry_open", open(f.retries.Load(), f.maxRetries()))
	e.value64(prefix+"rq_pending_open", open(pending, b.MaxPendingRequests))
	if !b.TrackRemaining {
		return
	}
	e.value64(prefix+"remaining_cx", remaining(connections, uint64(b.MaxConnections)))
	e.value64(prefix+"remaining_pending", remaining(pending, uint64(b.MaxPendingRequests)))
	e.value64(prefix+"remaining_rq", remaining(requests, uint64(b.MaxRequests)))
	retries := remaining(f.retries.Load(), uint64(b.MaxRetries))
	if b.Budget != nil && f.budgeted.Load() {
		retries = 0 // a budget moves with what is under way: Envoy gives up counting when it first asks it
	}
	e.value64(prefix+"remaining_retries", retries)
	e.value64(prefix+"remaining_cx_pools", remaining(f.pools(), math.MaxUint64))
}

// pools is how many of the hosts' pools have connections, or requests that wait for one.
func (f *flight) pools() (n int64) {
	for _, h := range f.cluster.snapshot() {
		h.each(func(p *pool) {
			if p.flight == f && p.inUse() {
				n++
			}
		})
	}
	return n
}

// open is Envoy's gauge of a breaker: 1 when what is in flight lets nothing more through.
func open(used int64, limit uint32) uint64 {
	if used > 0 && used >= int64(limit) {
		return 1
	}
	return 0
}

// remaining is how much more a breaker lets through.
func remaining(used int64, limit uint64) uint64 {
	if u := uint64(max(used, 0)); u < limit {
		return limit - u
	}
	return 0
}

// admit counts one more connection to the host against the breakers; false: there is no room.
func (h *host) admit(words *gauge, b *mesh.Breakers) bool {
	if b.PerHost == nil {
		h.cxActive.Add(1)
	} else if !take(&h.cxActive, *b.PerHost) {
		return false
	}
	if !take(words, b.MaxConnections) {
		h.cxActive.Add(-1)
		return false
	}
	return true
}

// force counts one more against their advice.
func (h *host) force(words *gauge) {
	h.cxActive.Add(1)
	words.Add(1)
}

// take counts one more against a limit; false: there is no room.
func take(word *gauge, limit uint32) bool {
	if word.Add(1) > int64(limit) {
		word.Add(-1)
		return false
	}
	return true
}
