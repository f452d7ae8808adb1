// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"sync"
)

// schedule is earliest deadline first: what has the weight w is due every 1/w (Envoy: edf_scheduler.h). Its members are
// numbers from 0. Safe for concurrent use.
type schedule struct {
	weight func(int) float64 // > 0; asked anew each time

	mu    sync.Mutex
	now   float64
	order uint64
	queue []due // a heap: no member is before the one at half its index
}

type due struct {
	at     float64
	order  uint64 // of equal times the one that was queued first
	member int
}

func (d *due) before(o *due) bool { return d.at < o.at || d.at == o.at && d.order < o.order }

// newSchedule begins at a random place, so that many data planes that start at once do not all begin with the same host.
func newSchedule(n int, weight func(int) float64) *schedule {
	return startSchedule(n, weight, uint64(rand.Uint32N(1<<28)))
}

// startSchedule is a schedule after so many picks.
func startSchedule(n int, weight func(int) float64, picks uint64) *schedule {
	s := &schedule{weight: weight, queue: make([]due, n), order: uint64(n)}
	const little = 1e-13 // keeps multiples from being due at the same time here, where rounding would decide
	var sum float64
	for i := range n {
		sum += weight(i) + little
	}
	left := picks
	for i := range n {
		w := weight(i) + little
		done := uint64(w * float64(picks) / sum)
		if done > 0 && float64(done)/w >= float64(picks)/sum {
			done-- // rounded up, or just due: the loop below decides
		}
		s.now = max(s.now, float64(done)/w)
		s.queue[i] = due{float64(done+1) / w, uint64(i), i}
		left -= done
	}
	for i := n/2 - 1; i >= 0; i-- {
		s.down(i)
	}
	for range left {
		s.next()
	}
	return s
}

// next is the member that is due.
func (s *schedule) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.queue[0]
	member := d.member
	s.now = d.at
	d.at, d.order = s.now+1/s.weight(member), s.order
	s.order++
	s.down(0)
	return member
}

func (s *schedule) down(i int) {
	q := s.queue
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(q) && q[child].before(&q[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}
