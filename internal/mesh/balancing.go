// SPDX-License-Identifier: Apache-2.0

package mesh

import "time"

// Policy is a load-balancing policy (Envoy: Cluster.LbPolicy, and the extensions of envoy.load_balancing_policies).
type Policy int

const (
	RoundRobin Policy = iota
	LeastRequest
	Random
	RingHash
	Maglev
)

// Hashes says whether the policy looks at the hash of a request.
func (p Policy) Hashes() bool { return p == RingHash || p == Maglev }

// Balancing is how a cluster chooses among its hosts. What does not belong to Policy is at its zero value.
type Balancing struct {
	Policy Policy
	// ChoiceCount of LEAST_REQUEST: how many random hosts are compared; at least 2, default 2.
	ChoiceCount uint32
	// FullScan makes LEAST_REQUEST compare all hosts (selection_method: FULL_SCAN).
	FullScan bool
	// ActiveRequestBias is how much what is in flight counts in LEAST_REQUEST with unequal weights: a weight is divided by
	// (active + 1) to the power of it. Default 1.
	ActiveRequestBias float64
	// SlowStart of ROUND_ROBIN and LEAST_REQUEST; nil: new hosts get their full share at once.
	SlowStart *SlowStart
	// Hash is set for RING_HASH and MAGLEV.
	Hash *HashTable
	// LocalityWeighted chooses a locality first, by weight and by how much of it is healthy.
	LocalityWeighted bool
	// OverrideHeaders are those of a request that may name its hosts (override_host), in lower case; nil: none. Policy is what
	// chooses where they do not.
	OverrideHeaders []string
	// ZoneAware prefers hosts in the own locality; nil: with Envoy's defaults. It needs Scope.LocalCluster.
	ZoneAware *ZoneAware
}

// SlowStart lets the weight of a new host grow (Envoy: SlowStartConfig).
type SlowStart struct {
	Window time.Duration // > 0
	// Aggression: the share is (age / Window) to the power of 1 / Aggression. Default 1.
	Aggression float64
	// MinWeight is the smallest share, 0 to 1; default 0.1.
	MinWeight float64
}

// HashTable is how RING_HASH and MAGLEV build their tables.
type HashTable struct {
	// MinRing and MaxRing bound the entries of RING_HASH; defaults 1024 and 8Mi.
	MinRing, MaxRing uint64
	// Murmur: the ring is built with MURMUR_HASH_2, not XX_HASH.
	Murmur bool
	// TableSize of MAGLEV, a prime number; default 65537.
	TableSize uint64
	// ByHostname hashes the host's name, not its address.
	ByHostname bool
	// BalanceFactor bounds what one host may have in flight, in percent of the average (hash_balance_factor); 0: no bound.
	BalanceFactor uint32
}

// ZoneAware is Envoy's ZoneAwareLbConfig.
type ZoneAware struct {
	// RoutingEnabled is for how many requests of 100 the zone is looked at; default 100.
	RoutingEnabled uint32
	// MinClusterSize is how many healthy hosts there must be; default 6.
	MinClusterSize uint64
	// FailTrafficOnPanic fails requests in panic.
	FailTrafficOnPanic bool
	// ForceLocal sends everything to the own locality while it has that many healthy hosts; nil: not forced.
	ForceLocal *uint32
	// ByWeight counts the weights of hosts, not hosts (locality_basis: HEALTHY_HOSTS_WEIGHT).
	ByWeight bool
}

// DefaultZoneAware is what holds where a file does not say anything.
var DefaultZoneAware = ZoneAware{RoutingEnabled: 100, MinClusterSize: 6}
