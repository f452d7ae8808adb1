// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"

	"github.com/leno-mesh/leno/internal/mesh"
)

// zones prefers hosts of the own locality as far as that keeps the load even: if the own locality has a larger part of the
// cluster's hosts than of the local cluster's, which are the sources of the requests, everything stays in it; if not, what
// is too much for it goes to localities with capacity to spare (Envoy: arch_overview/upstream/load_balancing/zone_aware).
// Only the first priority has zones.
type zones struct {
	config mesh.ZoneAware
	stats  *zoneStats
	// localPanic: too few hosts of the local cluster are healthy for its parts to mean anything.
	localPanic        bool
	healthy, degraded []picker // of each locality; nil: nobody
	// direct: everything stays in the own locality. Else own of 10,000 requests do, and residual adds up what each locality
	// can bear beyond its own requests.
	direct   bool
	own      uint64
	residual []uint64
}

// zoneStats counts for one cluster; the names are Envoy's, less lb_.
type zoneStats struct {
	allDirectly, sampled, crossZone, noCapacity, tooSmall, localNotOK counter
}

func (s *zoneStats) collect(e scope) {
	e.counter("lb_zone_routing_all_directly", &s.allDirectly)
	e.counter("lb_zone_routing_sampled", &s.sampled)
	e.counter("lb_zone_routing_cross_zone", &s.crossZone)
	e.counter("lb_zone_no_capacity_left", &s.noCapacity)
	e.counter("lb_zone_cluster_too_small", &s.tooSmall)
	e.counter("lb_local_cluster_not_ok", &s.localNotOK)
}

// newZones returns nil where the zone makes no difference, or too little is known of it.
func (c *cluster) newZones(config *mesh.Cluster, l *mesh.Level, local *mesh.HostSet, list func([]*mesh.Host) picker) *zones {
	z := &zones{config: mesh.DefaultZoneAware, stats: &c.stats.zones}
	if config.ZoneAware != nil {
		z.config = *config.ZoneAware
	}
	var here mesh.Level
	if len(local.Levels) > 0 {
		here = local.Levels[0]
	}
	switch {
	case len(l.Localities) < 2, z.config.ForceLocal == nil && len(here.Localities) < 2:
		return nil
	case !here.LocalFirst:
		z.stats.localNotOK.Add(1)
		return nil
	case uint64(len(l.Healthy)) < z.config.MinClusterSize:
		z.stats.tooSmall.Add(1)
		return nil
	}
	z.localPanic = here.TooFew(config.PanicThreshold)
	for i := range l.Localities {
		z.healthy = append(z.healthy, list(l.Localities[i].Healthy))
		z.degraded = append(z.degraded, list(l.Localities[i].Degraded))
	}
	z.share(l, &here)
	return z
}

// share compares the localities of the cluster with those of the local cluster, in parts of 10,000.
func (z *zones) share(l, here *mesh.Level) {
	sources := map[mesh.Locality]uint64{}
	var sum, sourcesSum uint64
	for i := range here.Localities {
		g := &here.Localities[i]
		sources[g.Locality] = z.size(g.Healthy)
		sourcesSum += sources[g.Locality]
	}
	for i := range l.Localities {
		sum += z.size(l.Localities[i].Healthy)
	}
	part := func(n, of uint64) uint64 { return n * 10_000 / max(of, 1) }
	var spare uint64
	for i := range l.Localities {
		g := &l.Localities[i]
		serves, asks := part(z.size(g.Healthy), sum), part(sources[g.Locality], sourcesSum)
		if len(g.Healthy) == 0 {
			asks = 0
		}
		if i == 0 && l.LocalFirst {
			if serves > 0 && serves >= asks || z.config.ForceLocal != nil && len(g.Healthy) >= int(*z.config.ForceLocal) {
				z.direct = true
				return
			}
			if asks > 0 {
				z.own = serves * 10_000 / asks
			}
		} else if serves > asks {
			spare += serves - asks
		}
		z.residual = append(z.residual, spare)
	}
}

func (z *zones) size(hosts []*mesh.Host) uint64 {
	if !z.config.ByWeight {
		return uint64(len(hosts))
	}
	var sum uint64
	for _, h := range hosts {
		sum += uint64(h.Weight)
	}
	return sum
}

// asked draws whether the zone is looked at for one request.
func (z *zones) asked() bool {
	if rand.Uint32N(100) >= z.config.RoutingEnabled {
		return false
	}
	if z.localPanic {
		z.stats.localNotOK.Add(1)
		return z.config.FailTrafficOnPanic // then pick returns nobody
	}
	return true
}

// pick chooses a locality; nil: nobody in it.
func (z *zones) pick(degraded bool) picker {
	if z.localPanic {
		return nil
	}
	if degraded {
		return z.degraded[z.locality()]
	}
	return z.healthy[z.locality()]
}

func (z *zones) locality() int {
	if z.direct {
		z.stats.allDirectly.Add(1)
		return 0
	}
	if rand.Uint64N(10_000) < z.own {
		z.stats.sampled.Add(1)
		return 0
	}
	z.stats.crossZone.Add(1)
	spare := z.residual[len(z.residual)-1]
	if spare == 0 { // only by rounding
		z.stats.noCapacity.Add(1)
		return rand.IntN(len(z.residual))
	}
	at := rand.Uint64N(spare)
	for i, r := range z.residual {
		if at < r {
			return i
		}
	}
	panic("at is below the last of them")
}
