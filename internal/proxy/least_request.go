// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math"
	"math/rand/v2"

	"github.com/leno-mesh/leno/internal/mesh"
)

// leastRequest takes, of some random hosts or of all, the one with the least in flight.
type leastRequest struct {
	hosts   []*mesh.Host
	active  []*gauge // of each host
	choices int      // how many are compared; 0: all
}

// newLeastRequest chooses by schedule when weights are unequal: then what is in flight lowers a host's weight.
func (c *cluster) newLeastRequest(config *mesh.Cluster, hosts []*mesh.Host, slow *slowStart) picker {
	l := &leastRequest{hosts: hosts, active: make([]*gauge, len(hosts)), choices: int(config.ChoiceCount)}
	for i, h := range hosts {
		l.active[i] = c.counts.Active(c.id, h.Address)
	}
	if config.FullScan {
		l.choices = 0
	}
	if slow == nil && equalWeights(hosts) || len(hosts) == 1 {
		return l
	}
	bias := config.ActiveRequestBias
	return &scheduled{hosts, newSchedule(len(hosts), func(i int) float64 {
		return slow.weigh(biased(float64(hosts[i].Weight), l.active[i].Load(), bias), hosts[i])
	})}
}

// biased is a weight less what is in flight.
func biased(weight float64, active int64, bias float64) float64 {
	switch n := float64(max(active, 0) + 1); bias {
	case 0:
		return weight
	case 1:
		return weight / n
	default:
		return weight / math.Pow(n, bias)
	}
}

func (l *leastRequest) pick(uint64) *mesh.Host {
	if l.choices == 0 {
		return l.leastOfAll()
	}
	best, least := -1, int64(0)
	for range l.choices { // of equals the first drawn wins
		i := rand.IntN(len(l.hosts))
		if active := l.active[i].Load(); best < 0 || active < least {
			best, least = i, active
		}
	}
	return l.hosts[best]
}

// leastOfAll gives equals the same chance.
func (l *leastRequest) leastOfAll() *mesh.Host {
	best, least, ties := 0, l.active[0].Load(), 1
	for i := 1; i < len(l.hosts); i++ {
		switch active := l.active[i].Load(); {
		case active < least:
			best, least, ties = i, active, 1
		case active == least:
			if ties++; rand.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return l.hosts[best]
}
