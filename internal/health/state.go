// SPDX-License-Identifier: Apache-2.0

package health

import (
	"math/rand/v2"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// result is what came of one try.
type result int

const (
	passed   result = iota
	degraded        // passed, and the server says that it is not at its best
	failed
	retriable // failed with a status that a threshold forgives
	network   // no connection, or it broke
	timeout
	passive // not tried: its answer to a request says so
)

// transition is what a result did to a host (Envoy: HealthTransition).
type transition int

const (
	unchanged transition = iota
	pending              // it takes more of these
	changed
)

// Flags are those that checks set and clear.
const Flags = mesh.FailedActiveCheck | mesh.DegradedActiveCheck | mesh.PendingActiveCheck | mesh.ExcludedByActiveCheck | mesh.ActiveCheckTimeout

// state is what is known of one host. It knows neither time nor sockets (Envoy: health_checker_base_impl.cc,
// ActiveHealthCheckSession).
type state struct {
	config    *mesh.HealthCheck
	flags     mesh.Flags
	good, bad uint32 // in a row
	checked   bool
}

func (s *state) has(f mesh.Flags) bool { return s.flags&f != 0 }

// take follows one result.
func (s *state) take(r result) transition {
	var t transition
	if r <= degraded {
		t = s.success(r == degraded)
	} else {
		t = s.failure(r)
	}
	s.checked = true
	return t
}

func (s *state) success(degraded bool) transition {
	s.bad = 0
	t := unchanged
	if s.has(mesh.FailedActiveCheck) {
		if s.checked {
			s.good++
		}
		// The first result is enough, so that a cluster is ready soon.
		if !s.checked || s.good == s.config.HealthyThreshold {
			s.flags &^= mesh.FailedActiveCheck | mesh.ActiveCheckTimeout | mesh.ExcludedByActiveCheck
			t = changed
		} else {
			t = pending
		}
	}
	t = s.known(t)
	if degraded != s.has(mesh.DegradedActiveCheck) {
		s.flags ^= mesh.DegradedActiveCheck
		if t == unchanged {
			t = changed
		}
	}
	return t
}

func (s *state) failure(r result) transition {
	s.good = 0
	t := unchanged
	if !s.has(mesh.FailedActiveCheck) {
		forgiven := r == network || r == timeout || r == retriable
		if forgiven {
			s.bad++
		}
		if !forgiven || s.bad == s.config.UnhealthyThreshold {
			s.flags |= mesh.FailedActiveCheck
			t = changed
		} else {
			t = pending
		}
	}
	if r == timeout && s.has(mesh.FailedActiveCheck) {
		s.flags |= mesh.ActiveCheckTimeout
	} else {
		s.flags &^= mesh.ActiveCheckTimeout
	}
	return s.known(t)
}

// known ends the time before the first result.
func (s *state) known(t transition) transition {
	if s.has(mesh.PendingActiveCheck) {
		s.flags &^= mesh.PendingActiveCheck
		return changed
	}
	return t
}

// wait is the time to the next try. well is what the last one was, traffic whether the cluster has ever had any.
func wait(c *mesh.HealthCheck, well bool, t transition, traffic bool) time.Duration {
	var d time.Duration
	switch edge := t == pending; {
	case !traffic && well && !edge:
		d = c.NoTrafficHealthyInterval
	case !traffic:
		d = c.NoTrafficInterval
	case well && edge:
		d = c.HealthyEdgeInterval
	case well:
		d = c.Interval
	case edge:
		d = c.UnhealthyEdgeInterval
	default:
		d = c.UnhealthyInterval
	}
	return jitter(d, c.IntervalJitterPercent, c.IntervalJitter)
}

// jitter adds up to percent of d and up to most to it. It is never less than a millisecond.
func jitter(d time.Duration, percent uint32, most time.Duration) time.Duration {
	d += below(d * time.Duration(percent) / 100)
	return max(d+below(most), time.Millisecond)
}

// below is a random whole number of milliseconds below d.
func below(d time.Duration) time.Duration {
	if n := d.Milliseconds(); n > 0 {
		return time.Duration(rand.Int64N(n)) * time.Millisecond
	}
	return 0
}
