// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// judge fills the levels of a set whose members are known: which hosts may be used and what share of the requests each
// priority gets (Envoy: load_balancer_impl.cc, LoadBalancerBase). own is where this data plane runs; nil: not said.
func judge(set *mesh.HostSet, c *mesh.Cluster, own *mesh.Locality) {
	if len(set.All) == 0 {
		return
	}
	var last uint32
	for _, h := range set.All {
		last = max(last, h.Priority)
	}
	set.Levels = make([]mesh.Level, last+1)
	for _, h := range set.All {
		l := &set.Levels[h.Priority]
		l.All = append(l.All, h)
	}
	for i := range set.Levels {
		l := &set.Levels[i]
		l.Healthy, l.Degraded = with(l.All, mesh.Healthy), with(l.All, mesh.Degraded)
		localities(l, uint32(i), c.Endpoints, own)
	}
	spread(set.Levels, c.Endpoints, c.PanicThreshold)
	usable(set, c.LocalityWeighted)
}

func with(hosts []*mesh.Host, health mesh.Health) []*mesh.Host {
	var some []*mesh.Host
	for _, h := range hosts {
		if h.State() == health {
			some = append(some, h)
		}
	}
	return some
}

// counted are the hosts that count in a level's health: those that drain have as good as left.
func counted(hosts []*mesh.Host) []*mesh.Host {
	var some []*mesh.Host
	for _, h := range hosts {
		if !h.Excluded() {
			some = append(some, h)
		}
	}
	return some
}

// localities groups the hosts of a level.
func localities(l *mesh.Level, priority uint32, e *mesh.Endpoints, own *mesh.Locality) {
	for _, h := range l.All {
		i := slices.IndexFunc(l.Localities, func(g mesh.LocalityHosts) bool { return g.Locality == h.Locality })
		if i < 0 {
			i = len(l.Localities)
			l.Localities = append(l.Localities, mesh.LocalityHosts{Locality: h.Locality})
			l.LocalFirst = l.LocalFirst || own != nil && *own == h.Locality
		}
		l.Localities[i].All = append(l.Localities[i].All, h)
	}
	slices.SortFunc(l.Localities, func(a, b mesh.LocalityHosts) int {
		switch {
		case own != nil && a.Locality == *own:
			return -1
		case own != nil && b.Locality == *own:
			return 1
		}
		return a.Locality.Compare(b.Locality)
	})
	for _, w := range e.LocalityWeights {
		for i := range l.Localities {
			if w.Priority == priority && w.Locality == l.Localities[i].Locality {
				l.Localities[i].Weight = w.Weight
			}
		}
	}
	for i := range l.Localities {
		g := &l.Localities[i]
		g.Healthy, g.Degraded = with(g.All, mesh.Healthy), with(g.All, mesh.Degraded)
		if n := len(counted(g.All)); n > 0 {
			part := func(some []*mesh.Host) float64 {
				share := float64(len(some)) / float64(n)
				return float64(g.Weight) * min(1, float64(e.Overprovisioning)/100*share)
			}
			g.HealthyWeight, g.DegradedWeight = part(g.Healthy), part(g.Degraded)
		}
	}
}

// spread gives each level its share of 100 percent.
func spread(levels []mesh.Level, e *mesh.Endpoints, threshold uint32) {
	healthy, degraded := make([]uint32, len(levels)), make([]uint32, len(levels)) // availability in percent
	var sum uint32
	for i := range levels {
		healthy[i], degraded[i] = available(&levels[i], e)
		sum += healthy[i] + degraded[i]
	}
	sum = min(sum, 100)
	if sum > 0 {
		left := share(levels, healthy, 100, sum, func(l *mesh.Level) *uint32 { return &l.HealthyLoad })
		left = share(levels, degraded, left, sum, func(l *mesh.Level) *uint32 { return &l.DegradedLoad })
		round(levels, healthy, degraded, left)
	}
	if sum == 0 && threshold == 0 {
		levels[0].HealthyLoad = 100 // there is nobody, and nobody will be found
		return
	}
	total := true
	for i := range levels {
		levels[i].Panic = sum < 100 && levels[i].TooFew(threshold)
		total = total && levels[i].Panic
	}
	if total {
		totalPanic(levels)
	}
}

// available is how much of all requests a level could bear, in percent.
func available(l *mesh.Level, e *mesh.Endpoints) (healthy, degraded uint32) {
	if len(counted(l.All)) == 0 {
		return 0, 0
	}
	weight := func(hosts []*mesh.Host) (sum uint64) {
		for _, h := range hosts {
			if e.WeightedPriorityHealth {
				sum += uint64(h.Weight)
			} else {
				sum++
			}
		}
		return sum
	}
	total := weight(counted(l.All))
	part := func(hosts []*mesh.Host) uint32 {
		return uint32(min(100, uint64(e.Overprovisioning)*weight(hosts)/total))
	}
	return part(l.Healthy), part(l.Degraded)
}

// share hands out load in order of priority, to each as much as it can bear; it returns what is left.
func share(levels []mesh.Level, available []uint32, load, sum uint32, of func(*mesh.Level) *uint32) uint32 {
	for i := range levels {
		part := min(load, available[i]*100/sum)
		*of(&levels[i]) = part
		load -= part
	}
	return load
}

// round gives what rounding left to the first level that has anybody.
func round(levels []mesh.Level, healthy, degraded []uint32, left uint32) {
	for i := range levels {
		if healthy[i] > 0 {
			levels[i].HealthyLoad += left
			return
		}
	}
	for i := range levels {
		if degraded[i] > 0 {
			levels[i].DegradedLoad += left
			return
		}
	}
}

// totalPanic: no level is fit, so that each gets the share that its number of hosts is.
func totalPanic(levels []mesh.Level) {
	n := 0
	for i := range levels {
		n += len(levels[i].All)
	}
	left, first := uint32(100), -1
	for i := range levels {
		l := &levels[i]
		if first < 0 && len(l.All) > 0 {
			first = i
		}
		l.HealthyLoad, l.DegradedLoad = uint32(100*len(l.All)/n), 0
		left -= l.HealthyLoad
	}
	levels[first].HealthyLoad += left
}

// usable says for those who balance over one list what that list is.
func usable(set *mesh.HostSet, localityWeighted bool) {
	lists := 0
	in := map[*mesh.Host]bool{}
	add := func(load uint32, hosts []*mesh.Host) {
		if load > 0 {
			lists++
			for _, h := range hosts {
				in[h] = true
			}
		}
	}
	for i := range set.Levels {
		l := &set.Levels[i]
		if l.HealthyLoad+l.DegradedLoad > 0 && localityWeighted && len(l.Localities) > 1 {
			set.Split = true
		}
		if l.Panic {
			add(l.HealthyLoad+l.DegradedLoad, l.All)
			continue
		}
		add(l.HealthyLoad, l.Healthy)
		add(l.DegradedLoad, l.Degraded)
	}
	for _, h := range set.All {
		if in[h] {
			set.Usable = append(set.Usable, h)
		}
	}
	set.Split = set.Split || lists > 1
}
