// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"container/heap"
	"math/rand/v2"
	"sync"

	"github.com/leno-mesh/leno/internal/mesh"
)

// balancer chooses among the usable hosts of a cluster as Envoy's policies do
// (arch_overview/upstream/load_balancing/load_balancers). Safe for concurrent use.
type balancer struct {
	cluster *cluster
	policy  mesh.Policy
	choices int
	hosts   []*mesh.Host
	// schedule is set when weights are unequal and the policy looks at them.
	schedule *schedule
}

func (c *cluster) newBalancer(config *mesh.Cluster, hosts []*mesh.Host) *balancer {
	b := &balancer{cluster: c, policy: config.Policy, choices: int(config.ChoiceCount), hosts: hosts}
	if config.Policy == mesh.Random {
		return b
	}
	for _, h := range hosts {
		if h.Weight != hosts[0].Weight {
			b.schedule = newSchedule(hosts, b.weight)
			break
		}
	}
	return b
}

// pick returns the host for one request or connection; nil if there is none.
func (b *balancer) pick() *mesh.Host {
	switch {
	case len(b.hosts) == 0:
		return nil
	case b.schedule != nil:
		return b.schedule.pick()
	case b.policy == mesh.RoundRobin:
		return b.hosts[(b.cluster.turn.Add(1)-1)%uint64(len(b.hosts))]
	case b.policy == mesh.LeastRequest:
		return b.leastOf(b.choices)
	}
	return b.hosts[rand.IntN(len(b.hosts))]
}

// leastOf compares n random hosts; of equals the first drawn wins.
func (b *balancer) leastOf(n int) *mesh.Host {
	var best *mesh.Host
	var least int64
	for range n {
		h := b.hosts[rand.IntN(len(b.hosts))]
		if active := b.active(h); best == nil || active < least {
			best, least = h, active
		}
	}
	return best
}

func (b *balancer) active(h *mesh.Host) int64 { return b.cluster.host(h.Address).active.Load() }

// weight is a host's share just now: least request divides it by what is in flight.
func (b *balancer) weight(h *mesh.Host) float64 {
	if b.policy == mesh.LeastRequest {
		return float64(h.Weight) / float64(b.active(h)+1)
	}
	return float64(h.Weight)
}

// schedule is earliest deadline first: a host of weight w is due every 1/w (Envoy: edf_scheduler.h).
type schedule struct {
	weight func(*mesh.Host) float64

	mu    sync.Mutex
	now   float64
	order uint64
	queue dueHosts
}

type dueHost struct {
	at    float64
	order uint64 // of equal times the one that was queued first
	host  *mesh.Host
}

func newSchedule(hosts []*mesh.Host, weight func(*mesh.Host) float64) *schedule {
	s := &schedule{weight: weight}
	for _, h := range hosts {
		s.add(h)
	}
	return s
}

func (s *schedule) add(h *mesh.Host) {
	heap.Push(&s.queue, dueHost{s.now + 1/s.weight(h), s.order, h})
	s.order++
}

func (s *schedule) pick() *mesh.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := heap.Pop(&s.queue).(dueHost)
	s.now = d.at
	s.add(d.host)
	return d.host
}

// dueHosts implements heap.Interface.
type dueHosts []dueHost

func (q dueHosts) Len() int { return len(q) }
func (q dueHosts) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q dueHosts) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *dueHosts) Push(x any)   { *q = append(*q, x.(dueHost)) }
func (q *dueHosts) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	*q = (*q)[:last]
	return d
}
