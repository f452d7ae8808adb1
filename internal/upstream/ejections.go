// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/mesh"
)

// kind is why a host is ejected (Envoy: OutlierEjectionType).
type kind int

const (
	consecutive5xx kind = iota
	consecutiveGateway
	consecutiveLocal
	successRate
	localSuccessRate
	failurePercentage
	localFailurePercentage

	consecutiveKinds = 3 // the first ones
)

// kinds are their names in statistics, and for how many of 100 detections they eject.
var kinds = [...]struct {
	name      string
	enforcing func(*mesh.OutlierDetection) uint32
}{
	consecutive5xx:         {"consecutive_5xx", func(c *mesh.OutlierDetection) uint32 { return c.EnforcingConsecutive5xx }},
	consecutiveGateway:     {"consecutive_gateway_failure", func(c *mesh.OutlierDetection) uint32 { return c.EnforcingConsecutiveGatewayFailure }},
	consecutiveLocal:       {"consecutive_local_origin_failure", func(c *mesh.OutlierDetection) uint32 { return c.EnforcingConsecutiveLocalOriginFailure }},
	successRate:            {"success_rate", func(c *mesh.OutlierDetection) uint32 { return c.EnforcingSuccessRate }},
	localSuccessRate:       {"local_origin_success_rate", func(c *mesh.OutlierDetection) uint32 { return c.EnforcingLocalOriginSuccessRate }},
	failurePercentage:      {"failure_percentage", func(c *mesh.OutlierDetection) uint32 { return c.EnforcingFailurePercentage }},
	localFailurePercentage: {"local_origin_failure_percentage", func(c *mesh.OutlierDetection) uint32 { return c.EnforcingFailurePercentageLocalOrigin }},
}

// Ejections are a cluster's statistics of outlier detection; they outlive its configuration.
type Ejections struct {
	active             atomic.Int64
	detected, enforced [len(kinds)]atomic.Uint64
	overflow           atomic.Uint64

	// Envoy's deprecated ones. allowed counts what max_ejection_percent let pass, of two kinds.
	allowed, rows5xx, rates atomic.Uint64
}

func (e *Ejections) detect(k kind) {
	e.detected[k].Add(1)
	switch k {
	case consecutive5xx:
		e.rows5xx.Add(1)
	case successRate, localSuccessRate:
		e.rates.Add(1)
	}
}

func (e *Ejections) allow(k kind) {
	if k == consecutive5xx || k == successRate {
		e.allowed.Add(1)
	}
}

func (e *Ejections) enforce(k kind) { e.enforced[k].Add(1) }

// Active is how many hosts are ejected just now.
func (e *Ejections) Active() uint64 { return uint64(max(e.active.Load(), 0)) }

// Counters gives all others their names, below outlier_detection.
func (e *Ejections) Counters(each func(name string, value uint64)) {
	total := uint64(0)
	for k := range kinds {
		n := e.enforced[k].Load()
		total += n
		each("ejections_detected_"+kinds[k].name, e.detected[k].Load())
		each("ejections_enforced_"+kinds[k].name, n)
	}
	each("ejections_enforced_total", total)
	each("ejections_overflow", e.overflow.Load())
	each("ejections_total", e.allowed.Load())
	each("ejections_consecutive_5xx", e.rows5xx.Load())
	each("ejections_success_rate", e.rates.Load())
}

// Ejections returns the statistics of all clusters that have had outlier detection, by their name in statistics.
func (u *Upstream) Ejections() map[string]*Ejections {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make(map[string]*Ejections, len(u.ejections))
	for name, e := range u.ejections {
		all[name] = e
	}
	return all
}

// ejectionsOf is called with mu held.
func (u *Upstream) ejectionsOf(name string) *Ejections {
	e := u.ejections[name]
	if e == nil {
		e = &Ejections{}
		u.ejections[name] = e
	}
	return e
}
