// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/leno-mesh/leno/internal/mesh"
)

// ring is the table of RING_HASH: each host stands at many places of a circle of hashes, and a request goes to the next one
// (Envoy: ring_hash_lb.cc, after ketama).
type ring struct {
	places             []place // by hash
	size, fewest, most uint64  // for statistics: planned places, and the extremes of what one host has
}

type place struct {
	hash uint64
	host *mesh.Host
}

func newRing(shares []hostShare, config *mesh.HashTable) *ring {
	least := 1.0
	for _, s := range shares {
		least = min(least, s.part)
	}
	// The host with the least weight gets a whole number of places, unless the ring would become too large.
	scale := min(math.Ceil(least*float64(config.MinRing))/least, float64(config.MaxRing))
	r := &ring{size: uint64(math.Ceil(scale))}
	r.places = make([]place, 0, r.size)
	r.fewest = r.size
	var now, until float64
	var key []byte
	for _, s := range shares {
		key = append(append(key[:0], hashKey(s.host, config.ByHostname)...), '_')
		stem := len(key)
		until += scale * s.part
		n := uint64(0)
		for ; now < until; now++ {
			key = strconv.AppendUint(key[:stem], n, 10)
			hash := xxHash64(string(key), 0)
			if config.Murmur {
				hash = murmurHash2(string(key), murmurSeed)
			}
			r.places = append(r.places, place{hash, s.host})
			n++
		}
		r.fewest, r.most = min(r.fewest, n), max(r.most, n)
	}
	slices.SortFunc(r.places, func(a, b place) int { return cmp.Compare(a.hash, b.hash) })
	return r
}

func (r *ring) pick(hash uint64, attempt uint32) *mesh.Host {
	if len(r.places) == 0 {
		return nil
	}
	i, _ := slices.BinarySearchFunc(r.places, hash, func(p place, h uint64) int { return cmp.Compare(p.hash, h) })
	if i == len(r.places) {
		i = 0 // round the circle
	}
	return r.places[(i+int(attempt))%len(r.places)].host
}
