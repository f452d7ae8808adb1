// SPDX-License-Identifier: Apache-2.0

package table

import (
	"net/netip"

	"github.com/leno-mesh/leno/internal/mesh"
)

// listenerKey is what a listener's id belongs to.
type listenerKey struct {
	cgroup  string
	address netip.AddrPort
	bound   bool
}

// endpointKey is what an endpoint's id belongs to.
type endpointKey struct {
	cluster mesh.ClusterID
	address netip.AddrPort
}

// ids gives out small numbers from 1 and keeps those of the run before.
type ids[K comparable] struct {
	known map[K]uint32
	used  map[uint32]bool
	next  uint32
	busy  func(uint32) bool // nil: none
}

func newIDs[K comparable](busy func(uint32) bool) *ids[K] {
	return &ids[K]{known: map[K]uint32{}, used: map[uint32]bool{}, next: 1, busy: busy}
}

// keep reserves the id that k had; whether or not k comes again, nobody else gets it in this run.
func (s *ids[K]) keep(k K, id uint32) {
	s.known[k] = id
	s.used[id] = true
}

// of returns k's id, a new one if it has none.
func (s *ids[K]) of(k K) uint32 {
	if id, ok := s.known[k]; ok {
		return id
	}
	for s.used[s.next] || (s.busy != nil && s.busy(s.next)) {
		s.next++
	}
	id := s.next
	s.next++
	s.keep(k, id)
	return id
}
