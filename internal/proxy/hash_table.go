// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/leno-mesh/leno/internal/mesh"
)

// hashTable finds the host of a hash. attempt is how often the request's hosts were turned down.
type hashTable interface {
	pick(hash uint64, attempt uint32) *mesh.Host
}

// hostShare is a host and its part of a hash table; the parts of all hosts add up to 1.
type hostShare struct {
	host *mesh.Host
	part float64
}

// newHashTable makes the table of one priority; nil if there is nobody in it. Degraded hosts are never in it, as in Envoy.
func (c *cluster) newHashTable(config *mesh.Cluster, l *mesh.Level) hashTable {
	shares := hostShares(l, config.LocalityWeighted)
	if len(shares) == 0 {
		return nil
	}
	var t hashTable
	if config.Policy == mesh.RingHash {
		r := newRing(shares, config.Hash)
		c.stats.ring.Store(&ringStats{r.size, r.fewest, r.most})
		t = r
	} else {
		m := newMaglev(shares, config.Hash)
		c.stats.maglev.Store(&maglevStats{m.fewest, m.most})
		t = m
	}
	if config.Hash.BalanceFactor > 0 {
		return c.newBounded(t, shares, config.Hash.BalanceFactor)
	}
	return t
}

// hostShares are the parts that hosts have in a table, in order of the load assignment, or of localities where those are
// weighted (Envoy: thread_aware_lb_impl.cc, normalizeWeights).
func hostShares(l *mesh.Level, localityWeighted bool) []hostShare {
	if !localityWeighted {
		if l.Panic {
			return partsOf(nil, l.All, 1)
		}
		return partsOf(nil, l.Healthy, 1)
	}
	var sum uint64
	for i := range l.Localities {
		sum += uint64(l.Localities[i].Weight)
	}
	var shares []hostShare
	for i := range l.Localities {
		g := &l.Localities[i]
		if g.Weight == 0 {
			continue
		}
		hosts := g.Healthy
		if l.Panic {
			hosts = g.All
		}
		shares = partsOf(shares, hosts, float64(g.Weight)/float64(sum))
	}
	return shares
}

func partsOf(shares []hostShare, hosts []*mesh.Host, whole float64) []hostShare {
	var sum uint64
	for _, h := range hosts {
		sum += uint64(h.Weight)
	}
	for _, h := range hosts {
		shares = append(shares, hostShare{h, float64(h.Weight) * whole / float64(sum)})
	}
	return shares
}

// hashKey is what stands for a host in a table.
func hashKey(h *mesh.Host, byHostname bool) string {
	switch {
	case h.HashKey != "":
		return h.HashKey
	case byHostname:
		return h.Hostname
	}
	return h.Address.String()
}
