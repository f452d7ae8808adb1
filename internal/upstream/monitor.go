// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Monitor is where tiers say what came of the requests and connections that they sent to one host. All methods may be called on
// nil, when nobody wants to know, and from any goroutine; none waits or allocates, unless the host is ejected by it
// (Envoy: Outlier::DetectorHostMonitor).
type Monitor struct {
	up       *Upstream
	detector *detector
	key      hostKey
	host     *mesh.Host // as it was when it came

	consecutive [consecutiveKinds]atomic.Uint32 // failures in a row
	external    rate                            // of answers; without split_external_local_origin_errors of all
	local       rate                            // of what is seen without an answer

	// Guarded by Upstream.mu.
	ejected, returned time.Time // last; zero: never
	backOff           uint64    // how often it was ejected lately
	jitter            time.Duration
}

// Monitor finds the monitor of a host; nil: nobody wants to know. It stays good while the cluster is configured as it is and the
// host is its member, and is harmless afterwards.
func (u *Upstream) Monitor(id mesh.ClusterID, host netip.AddrPort) *Monitor {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.detectors[id]
	if d == nil {
		return nil
	}
	return d.by[host]
}

// Answered tells of an answer's status, which for gRPC is what stands for its code in HTTP.
func (m *Monitor) Answered(status int) {
	if m != nil {
		m.code(status)
	}
}

// Connected tells that a request has got a connection.
func (m *Monitor) Connected() {
	if m != nil && m.detector.config.SplitLocalOrigin {
		m.localOrigin(true)
	}
}

// ConnectedOnly tells that a connection was made, and that nothing will be known of what goes over it.
func (m *Monitor) ConnectedOnly() { m.event(200, true) }

// Failed tells of a connection that was not made, or that ended before its time.
func (m *Monitor) Failed() { m.event(503, false) }

// TimedOut tells of a connection or an answer that did not come in time.
func (m *Monitor) TimedOut() { m.event(504, false) }

// event is what is seen without an answer: it counts as such, or as an answer with that status.
func (m *Monitor) event(status int, ok bool) {
	switch {
	case m == nil:
	case m.detector.config.SplitLocalOrigin:
		m.localOrigin(ok)
	default:
		m.code(status)
	}
}

func (m *Monitor) code(status int) {
	m.external.add(status < 500)
	if status < 500 {
		clearRow(&m.consecutive[consecutive5xx])
		clearRow(&m.consecutive[consecutiveGateway])
		return
	}
	c := m.detector.config
	if status >= 502 && status <= 504 {
		m.failure(consecutiveGateway, c.ConsecutiveGatewayFailure)
	} else {
		clearRow(&m.consecutive[consecutiveGateway])
	}
	m.failure(consecutive5xx, c.Consecutive5xx)
}

func (m *Monitor) localOrigin(ok bool) {
	m.local.add(ok)
	if ok {
		clearRow(&m.consecutive[consecutiveLocal])
		return
	}
	m.failure(consecutiveLocal, m.detector.config.ConsecutiveLocalOriginFailure)
}

// failure counts one more in a row. It speaks up once, at the limit: a row that goes on does not.
func (m *Monitor) failure(k kind, limit uint32) {
	if m.consecutive[k].Add(1) == limit {
		m.up.consecutive(m, k)
	}
}

// clearRow leaves a word alone that is 0 already: it is shared with other processors.
func clearRow(w *atomic.Uint32) {
	if w.Load() != 0 {
		w.Store(0)
	}
}

// rate counts what went well in this interval, and keeps the last one.
type rate struct {
	buckets [2]struct{ total, well atomic.Uint64 }
	now     atomic.Uint32
	found   float64 // by the last sweep, in percent; -1: too few. Guarded by Upstream.mu
}

func (r *rate) add(well bool) {
	b := &r.buckets[r.now.Load()]
	b.total.Add(1)
	if well {
		b.well.Add(1)
	}
}

// turn begins an interval. Called with Upstream.mu held.
func (r *rate) turn() {
	next := 1 - r.now.Load()
	r.buckets[next].total.Store(0)
	r.buckets[next].well.Store(0)
	r.now.Store(next)
	r.found = -1
}

// last is the percentage of the interval before, and of how many; of none there is no percentage.
func (r *rate) last() (percent float64, total uint64) {
	b := &r.buckets[1-r.now.Load()]
	if total = b.total.Load(); total == 0 {
		return 0, 0
	}
	return float64(b.well.Load()) * 100 / float64(total), total
}
