// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"net/netip"
)

// Endpoints is a load assignment (Envoy: ClusterLoadAssignment). The blocks of its localities are taken apart: each
// endpoint says where it stands.
type Endpoints struct {
	Endpoints []Endpoint // in file order
	// LocalityWeights are those given by load_balancing_weight of a block that names its locality; of two for the same
	// locality and priority the later one counts.
	LocalityWeights []LocalityWeight
	// Overprovisioning says how much more than its share a healthy host can bear, in percent
	// (policy.overprovisioning_factor); default 140.
	Overprovisioning uint32
	// WeightedPriorityHealth counts weights, not hosts, in the health of a priority.
	WeightedPriorityHealth bool
	// Drop is the share of HTTP requests that are turned away (policy.drop_overloads), 0 to 1. As in Envoy, tcp_proxy takes
	// no notice of it.
	Drop float32
}

// Locality is a place where endpoints run (Envoy: core.v3.Locality).
type Locality struct {
	Region, Zone, SubZone string
}

// LocalityWeight is the weight of one locality within one priority.
type LocalityWeight struct {
	Priority uint32
	Locality Locality
	Weight   uint32
}

// Health is an endpoint's status as configured (Envoy: core.v3.HealthStatus).
type Health int

const (
	Healthy   Health = iota // UNKNOWN and HEALTHY
	Unhealthy               // UNHEALTHY and TIMEOUT
	Degraded                // DEGRADED: only used when there are not enough healthy ones
	Draining                // DRAINING: unhealthy, and not counted as a member in the health of its priority
)

// Endpoint is one member of a load assignment; Address is set, or Host and Port for a name.
type Endpoint struct {
	Address netip.AddrPort
	Host    string // DNS name, for StrictDNS and LogicalDNS
	Port    uint16
	Weight  uint32 // load_balancing_weight, default 1
	Health  Health
	// Hostname is what the file gives for the endpoint (endpoint.hostname).
	Hostname string
	// Priority is the level of failover, 0 is the first; at most 128.
	Priority uint32
	Locality Locality
	// HashKey stands for the address in hash tables (metadata envoy.lb, hash_key); empty: the address does.
	HashKey string
	// Check is how its health is asked for.
	Check EndpointCheck
}

// EndpointCheck is what an endpoint says of health checks (Envoy: Endpoint.HealthCheckConfig).
type EndpointCheck struct {
	Disabled bool       // it is not checked, and is healthy as far as checks go
	Address  netip.Addr // where to, instead of the endpoint's address; invalid: not set
	Port     uint16     // instead of the endpoint's port; 0: not set
	Host     string     // instead of the check's host; empty: not set
}

// Compare orders localities by region, zone and sub_zone.
func (l Locality) Compare(o Locality) int {
	return cmp.Or(cmp.Compare(l.Region, o.Region), cmp.Compare(l.Zone, o.Zone), cmp.Compare(l.SubZone, o.SubZone))
}
