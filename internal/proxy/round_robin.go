// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/mesh"
)

// roundRobin takes one host after the other, from a random one on.
type roundRobin struct {
	hosts []*mesh.Host
	turn  atomic.Uint64
}

func newRoundRobin(hosts []*mesh.Host, slow *slowStart) picker {
	if slow == nil && equalWeights(hosts) || len(hosts) == 1 {
		r := &roundRobin{hosts: hosts}
		r.turn.Store(rand.Uint64N(uint64(len(hosts))))
		return r
	}
	return &scheduled{hosts, newSchedule(len(hosts), func(i int) float64 {
		return slow.weigh(float64(hosts[i].Weight), hosts[i])
	})}
}

func (r *roundRobin) pick(uint64) *mesh.Host {
	return r.hosts[(r.turn.Add(1)-1)%uint64(len(r.hosts))]
}

// scheduled takes hosts by weight.
type scheduled struct {
	hosts    []*mesh.Host
	schedule *schedule
}

func (s *scheduled) pick(uint64) *mesh.Host { return s.hosts[s.schedule.next()] }

func equalWeights(hosts []*mesh.Host) bool {
	for _, h := range hosts {
		if h.Weight != hosts[0].Weight {
			return false
		}
	}
	return true
}

// randomly takes any host, whatever its weight.
type randomly []*mesh.Host

func (r randomly) pick(random uint64) *mesh.Host { return r[random%uint64(len(r))] }
