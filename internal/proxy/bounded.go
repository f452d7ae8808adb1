// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math"

	"github.com/leno-mesh/leno/internal/mesh"
)

// bounded keeps hosts of a hash table from taking much more than their share: where one is full, others are tried in an order
// that the hash decides (Envoy: BoundedLoadHashingLoadBalancer).
type bounded struct {
	table  hashTable
	shares []hostShare
	active []*gauge // of each share's host
	whole  *gauge   // of the cluster
	factor uint32   // percent
	index  map[*mesh.Host]int
}

func (c *cluster) newBounded(t hashTable, shares []hostShare, factor uint32) *bounded {
	b := &bounded{table: t, shares: shares, whole: &c.stats.rqActive, factor: factor, index: map[*mesh.Host]int{}}
	for i, s := range shares {
		b.active = append(b.active, c.counts.Active(c.id, s.host.Address))
		b.index[s.host] = i
	}
	return b
}

// full is how full a host is; above 1 it takes no more.
func (b *bounded) full(i int) float64 {
	whole := uint32(max(b.whole.Load(), 0))
	slots := ((whole+1)*b.factor + 99) / 100
	own := max(uint32(math.Ceil(float64(slots)*b.shares[i].part)), 1)
	return float64(max(b.active[i].Load(), 0)) / float64(own)
}

func (b *bounded) pick(hash uint64, attempt uint32) *mesh.Host {
	first := b.table.pick(hash, attempt)
	at, ok := b.index[first]
	if !ok {
		return first
	}
	least := b.full(at)
	if least <= 1 {
		return first
	}
	best := at
	order := make([]int, len(b.shares))
	for i := range order {
		order[i] = i
	}
	random := newMersenne(uint32(hash))
	for i := range order {
		j := i + int(random.below(uint32(len(order)-i)))
		order[i], order[j] = order[j], order[i]
		k := order[i]
		if k == at {
			continue
		}
		f := b.full(k)
		if f <= 1 {
			return b.shares[k].host
		}
		if f < least {
			best, least = k, f
		}
	}
	return b.shares[best].host
}
