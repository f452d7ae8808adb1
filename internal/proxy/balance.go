// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"

	"github.com/leno-mesh/leno/internal/mesh"
)

// balancer chooses among the hosts of a cluster as Envoy's policies do
// (arch_overview/upstream/load_balancing/load_balancers): by priority first, then by locality if those are weighted, then
// by the policy. Safe for concurrent use.
type balancer struct {
	priorities  []priority
	hashes      bool // the policy looks at selection.hash
	failInPanic bool
	stats       *clusterStats
}

// priority is one level of failover with what its lists need to be chosen from.
type priority struct {
	*mesh.Level
	all, healthy, degraded picker // nil: nobody
	// Of locality-weighted balancing; nil: the lists are not taken apart.
	healthyLocalities, degradedLocalities *localities
	zones                                 *zones    // nil: the zone is not looked at
	table                                 hashTable // of policies that hash; nil: nobody
}

// picker chooses from one list of hosts. random is drawn anew for each request.
type picker interface {
	pick(random uint64) *mesh.Host
}

// selection is what one request wants of the balancer; the zero value has no wishes.
type selection struct {
	hash   uint64
	hashed bool // there is a hash
	// attempt is how often a host was chosen for the request and turned down.
	attempt uint32
}

// newBalancer makes the balancer of one state of the cluster; local is the set of the local cluster, nil: there is none.
func (c *cluster) newBalancer(config *mesh.Cluster, set, local *mesh.HostSet) *balancer {
	b := &balancer{hashes: config.Policy.Hashes(), stats: c.stats, priorities: make([]priority, len(set.Levels)),
		failInPanic: config.ZoneAware != nil && config.ZoneAware.FailTrafficOnPanic}
	slow := c.slowStart(config, set)
	list := func(hosts []*mesh.Host) picker { return c.picker(config, hosts, slow) }
	for i := range b.priorities {
		l := &b.priorities[i]
		l.Level = &set.Levels[i]
		switch {
		case b.hashes:
			l.table = c.newHashTable(config, l.Level)
		case l.Panic:
			l.all = list(l.All)
		default:
			l.healthy, l.degraded = list(l.Healthy), list(l.Degraded)
			if i == 0 && local != nil {
				l.zones = c.newZones(config, l.Level, local, list)
			}
			if config.LocalityWeighted {
				l.healthyLocalities = newLocalities(l.Level.Localities, list,
					func(g *mesh.LocalityHosts) ([]*mesh.Host, float64) { return g.Healthy, g.HealthyWeight })
				l.degradedLocalities = newLocalities(l.Level.Localities, list,
					func(g *mesh.LocalityHosts) ([]*mesh.Host, float64) { return g.Degraded, g.DegradedWeight })
			}
		}
	}
	return b
}

// picker makes what chooses from one list; nil if it is empty.
func (c *cluster) picker(config *mesh.Cluster, hosts []*mesh.Host, slow *slowStart) picker {
	switch {
	case len(hosts) == 0:
		return nil
	case config.Policy == mesh.Random:
		return randomly(hosts)
	case config.Policy == mesh.LeastRequest:
		return c.newLeastRequest(config, hosts, slow)
	}
	return newRoundRobin(hosts, slow)
}

// pick returns the host for one request or connection; nil if there is none.
func (b *balancer) pick(s selection) *mesh.Host {
	if len(b.priorities) == 0 {
		return nil
	}
	random := rand.Uint64()
	if b.hashes {
		if !s.hashed {
			s.hash = random
		}
		l, _ := b.priority(s.hash)
		if l.Panic {
			b.stats.lbHealthyPanic.Add(1)
		}
		if l.table == nil {
			return nil
		}
		return l.table.pick(s.hash, s.attempt)
	}
	p := b.list(random)
	if p == nil {
		return nil
	}
	return p.pick(random)
}

// list is the one to choose from; nil: there is none, or nobody in it.
func (b *balancer) list(random uint64) picker {
	l, degraded := b.priority(random)
	switch {
	case l.Panic:
		b.stats.lbHealthyPanic.Add(1)
		if b.failInPanic {
			return nil
		}
		return l.all
	case degraded && l.degradedLocalities != nil:
		return l.degradedLocalities.pick()
	case !degraded && l.healthyLocalities != nil:
		return l.healthyLocalities.pick()
	case l.zones != nil && l.zones.asked():
		return l.zones.pick(degraded)
	case degraded:
		return l.degraded
	}
	return l.healthy
}

// priority chooses one by its load, and whether its healthy or its degraded hosts are meant. The same number that chooses
// the host chooses it, as in Envoy.
func (b *balancer) priority(n uint64) (l *priority, degraded bool) {
	if len(b.priorities) == 1 && b.priorities[0].HealthyLoad == 100 {
		return &b.priorities[0], false
	}
	at := uint32(n%100) + 1
	var sum uint32
	for i := range b.priorities {
		if sum += b.priorities[i].HealthyLoad; at <= sum {
			return &b.priorities[i], false
		}
	}
	for i := range b.priorities {
		if sum += b.priorities[i].DegradedLoad; at <= sum {
			return &b.priorities[i], true
		}
	}
	return &b.priorities[0], false // the loads add up to 100
}

// localities chooses a locality by weight before a host.
type localities struct {
	schedule *schedule
	lists    []picker
}

// newLocalities returns nil if no locality has a weight: then the hosts are one list.
func newLocalities(all []mesh.LocalityHosts, list func([]*mesh.Host) picker, of func(*mesh.LocalityHosts) ([]*mesh.Host, float64)) *localities {
	ls := &localities{}
	var weights []float64
	for i := range all {
		if hosts, weight := of(&all[i]); weight > 0 {
			ls.lists, weights = append(ls.lists, list(hosts)), append(weights, weight)
		}
	}
	if len(weights) == 0 {
		return nil
	}
	ls.schedule = newSchedule(len(weights), func(i int) float64 { return weights[i] })
	return ls
}

func (ls *localities) pick() picker { return ls.lists[ls.schedule.next()] }
