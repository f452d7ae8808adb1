// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// maglev is the table of MAGLEV (Envoy: maglev_lb.cc; the paper: research.google.com/pubs/pub44824.html, section 3.4).
type maglev struct {
	hosts        []*mesh.Host
	entries      []uint32 // index into hosts
	fewest, most uint64   // for statistics: the extremes of what one host has
}

// applicant is a host while the table is filled: it walks over the entries in an order of its own.
type applicant struct {
	hostShare
	key          string
	offset, skip uint64
	next, count  uint64
	target       float64
}

func newMaglev(shares []hostShare, config *mesh.HashTable) *maglev {
	size := config.TableSize
	all := make([]applicant, len(shares))
	most := 0.0
	for i, s := range shares {
		key := hashKey(s.host, config.ByHostname)
		all[i] = applicant{hostShare: s, key: key, offset: xxHash64(key, 0) % size, skip: xxHash64(key, 1)%(size-1) + 1}
		most = max(most, s.part)
	}
	slices.SortStableFunc(all, func(a, b applicant) int { return cmp.Compare(a.key, b.key) })
	m := &maglev{entries: make([]uint32, size), fewest: size}
	for i := range all {
		m.hosts = append(m.hosts, all[i].host)
	}
	taken := make([]bool, size)
	filled := uint64(0)
	for turn := uint32(1); filled < size; turn++ {
		for i := 0; i < len(all) && filled < size; i++ {
			a := &all[i]
			if float64(turn)*a.part < a.target {
				continue // a lighter host does not take an entry at each turn
			}
			a.target += most
			at := (a.offset + a.skip*a.next) % size
			for taken[at] {
				a.next++
				at = (a.offset + a.skip*a.next) % size
			}
			m.entries[at], taken[at] = uint32(i), true
			a.next++
			a.count++
			filled++
		}
	}
	for i := range all {
		m.fewest, m.most = min(m.fewest, all[i].count), max(m.most, all[i].count)
	}
	return m
}

func (m *maglev) pick(hash uint64, attempt uint32) *mesh.Host {
	if attempt > 0 {
		hash ^= ^uint64(0) - uint64(attempt) + 1
	}
	return m.hosts[m.entries[hash%uint64(len(m.entries))]]
}
