// SPDX-License-Identifier: Apache-2.0

package health

import (
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Stats are a cluster's statistics of health checks, below health_check; they outlive its configuration.
type Stats struct {
	Attempt, Success, Failure, PassiveFailure, NetworkFailure, VerifyCluster atomic.Uint64
	Healthy, Degraded                                                        atomic.Int64 // of the hosts that are tried
}

func (s *Stats) result(r result) {
	if r <= degraded {
		s.Success.Add(1)
		return
	}
	s.Failure.Add(1)
	switch r {
	case network, timeout:
		s.NetworkFailure.Add(1)
	case passive:
		s.PassiveFailure.Add(1)
	}
}

// count follows a host that goes from flags to flags. That one is not degraded any more is not counted, as in Envoy; that it leaves is.
func (s *Stats) count(before, now mesh.Flags) {
	switch up := now&mesh.FailedActiveCheck == 0; {
	case up == (before&mesh.FailedActiveCheck == 0):
	case up:
		s.Healthy.Add(1)
	default:
		s.Healthy.Add(-1)
	}
	if now&^before&mesh.DegradedActiveCheck != 0 {
		s.Degraded.Add(1)
	}
}

// leave takes a host out.
func (s *Stats) leave(last mesh.Flags) {
	if last&mesh.FailedActiveCheck == 0 {
		s.Healthy.Add(-1)
	}
	if last&mesh.DegradedActiveCheck != 0 {
		s.Degraded.Add(-1)
	}
}

// Counters gives all counters their names.
func (s *Stats) Counters(each func(name string, value uint64)) {
	each("attempt", s.Attempt.Load())
	each("success", s.Success.Load())
	each("failure", s.Failure.Load())
	each("passive_failure", s.PassiveFailure.Load())
	each("network_failure", s.NetworkFailure.Load())
	each("verify_cluster", s.VerifyCluster.Load())
}
