// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math"
	"net/netip"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// slowStart lowers the weights of hosts that were healthy only for a short time; nil lowers none. Immutable.
type slowStart struct {
	config *mesh.SlowStart
	since  map[netip.AddrPort]time.Time // when a host was first seen healthy
}

// slowStart notes who is healthy for the first time. It returns nil if no host is in its window: as in Envoy, the policy then
// goes on without a schedule where weights are equal.
func (c *cluster) slowStart(config *mesh.Cluster, set *mesh.HostSet) *slowStart {
	if config.SlowStart == nil {
		return nil
	}
	now := time.Now()
	s := &slowStart{config: config.SlowStart, since: make(map[netip.AddrPort]time.Time, len(set.All))}
	young := false
	for _, h := range set.All {
		if h.State() != mesh.Healthy {
			continue
		}
		since := c.host(h.Address).firstHealthy(now)
		s.since[h.Address] = since
		young = young || now.Sub(since) <= config.SlowStart.Window
	}
	if !young {
		return nil
	}
	return s
}

// firstHealthy is when the host was seen healthy first. Only called by Proxy.Update.
func (h *host) firstHealthy(now time.Time) time.Time {
	if h.healthySince.IsZero() {
		h.healthySince = now
	}
	return h.healthySince
}

// weigh is a host's weight just now.
func (s *slowStart) weigh(weight float64, h *mesh.Host) float64 {
	if s == nil {
		return weight
	}
	since, ok := s.since[h.Address]
	if !ok {
		return weight
	}
	return weight * slowFactor(s.config, time.Since(since))
}

// slowFactor is the share of its weight that a host of that age has.
func slowFactor(c *mesh.SlowStart, age time.Duration) float64 {
	if age >= c.Window {
		return 1
	}
	part := float64(max(age, time.Millisecond).Milliseconds()) / float64(c.Window.Milliseconds())
	if c.Aggression != 1 {
		part = math.Pow(part, 1/c.Aggression)
	}
	return max(part, c.MinWeight)
}
