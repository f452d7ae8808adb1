// SPDX-License-Identifier: Apache-2.0

package table

import "github.com/leno-mesh/leno/internal/mesh"

func equalWeights(hosts []*mesh.Host) bool {
	for _, h := range hosts {
		if h.Weight != hosts[0].Weight {
			return false
		}
	}
	return true
}

// ringLength is how many slots the cluster's balancing walks over.
func ringLength(m *mesh.Cluster, hosts []*mesh.Host) uint64 {
	if m.Policy != mesh.RoundRobin || equalWeights(hosts) {
		return uint64(len(hosts))
	}
	var sum uint64
	g := divisor(hosts)
	for _, h := range hosts {
		sum += uint64(h.Weight / g)
	}
	return sum
}

// divisor is the greatest common divisor of the weights.
func divisor(hosts []*mesh.Host) uint32 {
	var g uint32
	for _, h := range hosts {
		for a, b := g, h.Weight; ; a, b = b, a%b {
			if b == 0 {
				g = a
				break
			}
		}
	}
	return max(g, 1)
}

// sequence lists the hosts in the order that the balancing walks over. RANDOM and LEAST_REQUEST draw from it: once each.
// ROUND_ROBIN with unequal weights follows Envoy's earliest-deadline-first schedule for one period
// (envoy: source/common/upstream/edf_scheduler.h).
func sequence(m *mesh.Cluster, hosts []*mesh.Host) []*mesh.Host {
	n := ringLength(m, hosts)
	if n == uint64(len(hosts)) || n > maxSlots {
		return hosts
	}
	g := divisor(hosts)
	// Host i's k-th turn is due at k / weight; of equal deadlines the one that was scheduled first goes first.
	turn := make([]uint64, len(hosts))
	queued := make([]uint64, len(hosts))
	for i := range hosts {
		turn[i], queued[i] = 1, uint64(i)
	}
	seq := make([]*mesh.Host, 0, n)
	for step := uint64(len(hosts)); uint64(len(seq)) < n; step++ {
		best := 0
		for i := 1; i < len(hosts); i++ {
			mine, other := turn[i]*uint64(hosts[best].Weight/g), turn[best]*uint64(hosts[i].Weight/g)
			if mine < other || (mine == other && queued[i] < queued[best]) {
				best = i
			}
		}
		seq = append(seq, hosts[best])
		turn[best]++
		queued[best] = step
	}
	return seq
}
