// SPDX-License-Identifier: Apache-2.0

// Package table is the compiler: it turns the mesh model and the present hosts
// into the rows that the kernel half works from, and decides for each listener
// and route which tier carries it and why.
//
// It is pure: no I/O, no clock, no kernel. It does not encode rows into kernel
// memory (package dataplane) and does not serve traffic (package proxy).
package table

import (
	"net/netip"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Tier is a place where traffic can be decided.
type Tier string

const (
	TierSocket Tier = "socket" // at connect(), in the kernel
	TierProxy  Tier = "proxy"  // in the agent
)

// Tables is the whole desired state of the kernel half. Immutable once returned by Compile.
// Rows whose source did not change keep their pointer from one Compile to the next.
type Tables struct {
	Scopes    []*Scope    // ordered by ID
	Listeners []*Listener // ordered by ID
	Clusters  []*Cluster  // ordered by ID; only those that a socket-tier listener uses
	// Reasons explains the tier of every listener and route, in configuration order.
	Reasons []Reason

	// sources are what the clusters' rows were made from: the same source makes the same row.
	sources map[mesh.ClusterID]source
}

type source struct {
	cluster *mesh.Cluster
	hosts   *mesh.HostSet
}

// Scope is a managed cgroup subtree. IDs start at 1.
type Scope struct {
	ID     uint32
	Cgroup string // mesh.Scope.Cgroup
}

// Listener is one owned address.
type Listener struct {
	ID      uint32 // stable while the key (scope, address, bound) lives; starts at 1
	Name    string
	Scope   uint32 // Scope.ID
	Address netip.AddrPort
	// Bound: the agent listens there; the row is keyed by the agent's namespace and, if the address is unspecified, stands
	// for local addresses only. Otherwise it is keyed by namespace 0: every namespace of the scope.
	Bound bool
	// V4Compat: an unspecified IPv6 address takes IPv4 too.
	V4Compat bool
	Tier     Tier
	// Tombstone: why every connect fails; empty otherwise.
	Tombstone string
	// StatPrefix names the listener in statistics (empty: its address), TCPStatPrefix its tcp_proxy (empty: it has none).
	StatPrefix    string
	TCPStatPrefix string
	// Shares is the split of a socket-tier listener, in configuration order; empty for the proxy tier.
	Shares []Share
}

// Share is one cluster's part of a split.
type Share struct {
	Cluster uint32 // Cluster.ID
	Weight  uint32
}

// Balance is how a slot is chosen.
type Balance int

const (
	Ring   Balance = iota // next slot, atomically: Envoy's round robin, weights by repetition in EDF order
	Random                // a uniformly random slot
	Least                 // the least busy of Choices random slots
)

// Cluster is one set of endpoints. IDs start at 1 and are stable while the name lives in its scope.
type Cluster struct {
	ID             uint32
	Cluster        mesh.ClusterID
	StatName       string // in statistics
	Balance        Balance
	Choices        uint32
	Tombstone      bool
	MaxConnections uint32
	// ConnectTimeoutMS bounds the handshake, in milliseconds.
	ConnectTimeoutMS uint32
	// Slots is what the balancing walks over: an endpoint appears once, or as often as its weight says (Ring).
	Slots []Slot
}

// Slot is one entry of a cluster's balancing.
type Slot struct {
	Endpoint uint32 // stable while the address is a member of the cluster; unique over all clusters; starts at 1
	Address  netip.AddrPort
}

// Reason says where a listener, one of its filter chains or a route is carried and why.
type Reason struct {
	Scope    string `json:"scope"`
	Listener string `json:"listener"`
	Chain    string `json:"filter_chain,omitempty"` // or "at" one of the additional addresses; empty: the listener
	Route    string `json:"route,omitempty"`        // empty: the listener or chain as a whole
	Tier     Tier   `json:"tier"`
	Why      string `json:"why"` // a sentence in words
}
