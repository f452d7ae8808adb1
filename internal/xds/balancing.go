// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	lbv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	leastv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	maglevv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	overridev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/override_host/v3"
	randomv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/random/v3"
	ringv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	robinv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/leno-mesh/leno/internal/mesh"
)

// balancing reads the policy. Its old form (lb_policy and *_lb_config) is turned into the new one first
// (load_balancing_policy), as in Envoy.
func balancing(p *clusterv3.Cluster, c *mesh.Cluster, f *findings) {
	if lb := p.GetLoadBalancingPolicy(); lb != nil {
		newBalancing(lb, c, "load_balancing_policy", f)
		partialFields(p.GetCommonLbConfig(), f)
		return
	}
	switch p.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN:
		roundRobin(&robinv3.RoundRobin{SlowStartConfig: slowStartOf(p.GetRoundRobinLbConfig().GetSlowStartConfig()),
			LocalityLbConfig: localityOf(p.GetCommonLbConfig())}, c, "round_robin_lb_config", f)
	case clusterv3.Cluster_LEAST_REQUEST:
		l := p.GetLeastRequestLbConfig()
		leastRequest(&leastv3.LeastRequest{ChoiceCount: l.GetChoiceCount(), ActiveRequestBias: l.GetActiveRequestBias(),
			SlowStartConfig:  slowStartOf(l.GetSlowStartConfig()),
			LocalityLbConfig: localityOf(p.GetCommonLbConfig())}, c, "least_request_lb_config", f)
	case clusterv3.Cluster_RANDOM:
		random(&randomv3.Random{LocalityLbConfig: localityOf(p.GetCommonLbConfig())}, c)
	case clusterv3.Cluster_RING_HASH:
		r := p.GetRingHashLbConfig()
		ringHash(&ringv3.RingHash{MinimumRingSize: r.GetMinimumRingSize(), MaximumRingSize: r.GetMaximumRingSize(),
			HashFunction:              ringFunctions[r.GetHashFunction()],
			ConsistentHashingLbConfig: consistentOf(p.GetCommonLbConfig()),
			LocalityWeightedLbConfig:  localityOf(p.GetCommonLbConfig()).GetLocalityWeightedLbConfig()}, c, "ring_hash_lb_config", f)
	case clusterv3.Cluster_MAGLEV:
		maglev(&maglevv3.Maglev{TableSize: p.GetMaglevLbConfig().GetTableSize(),
			ConsistentHashingLbConfig: consistentOf(p.GetCommonLbConfig()),
			LocalityWeightedLbConfig:  localityOf(p.GetCommonLbConfig()).GetLocalityWeightedLbConfig()}, c, "maglev_lb_config", f)
	case clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG:
		f.invalid("load_balancing_policy", "is missing, and lb_policy refers to it")
	default:
		f.refused("lb_policy", "%s is not supported: leno accepts %s", p.GetLbPolicy(), oldPolicies)
	}
}

const (
	oldPolicies = "ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH and MAGLEV"
	newPolicies = "round_robin, least_request, random, ring_hash, maglev and override_host"
)

// partialFields are those of the old form that Envoy does not take beside the new one.
func partialFields(c *clusterv3.Cluster_CommonLbConfig, f *findings) {
	for _, x := range []struct {
		field string
		set   bool
	}{
		{"zone_aware_lb_config", c.GetZoneAwareLbConfig() != nil},
		{"locality_weighted_lb_config", c.GetLocalityWeightedLbConfig() != nil},
		{"consistent_hashing_lb_config", c.GetConsistentHashingLbConfig() != nil},
	} {
		if x.set {
			f.invalid(join("common_lb_config", x.field), "cannot be given beside load_balancing_policy: the policy has a field for it")
		}
	}
}

// newBalancing takes the first policy, as Envoy takes the first that it knows.
func newBalancing(lb *clusterv3.LoadBalancingPolicy, c *mesh.Cluster, path string, f *findings) {
	path = join(path, "policies")
	if len(lb.GetPolicies()) == 0 {
		f.invalid(path, "is empty: leno accepts %s", newPolicies)
		return
	}
	for i, pol := range lb.GetPolicies() {
		path := join(at(path, i), "typed_extension_config.typed_config")
		if pol.GetTypedExtensionConfig().GetTypedConfig() == nil {
			f.invalid(path, "is missing")
			continue
		}
		if i > 0 {
			continue
		}
		switch m := unpack(pol.GetTypedExtensionConfig().GetTypedConfig()).(type) {
		case *robinv3.RoundRobin:
			roundRobin(m, c, path, f)
		case *randomv3.Random:
			random(m, c)
		case *leastv3.LeastRequest:
			leastRequest(m, c, path, f)
		case *ringv3.RingHash:
			ringHash(m, c, path, f)
		case *maglevv3.Maglev:
			maglev(m, c, path, f)
		case *overridev3.OverrideHost:
			overrideHost(m, c, path, f)
		}
	}
}

func roundRobin(m *robinv3.RoundRobin, c *mesh.Cluster, path string, f *findings) {
	c.Policy = mesh.RoundRobin
	c.SlowStart = slowStart(m.GetSlowStartConfig(), join(path, "slow_start_config"), f)
	locality(m.GetLocalityLbConfig(), c)
}

func random(m *randomv3.Random, c *mesh.Cluster) {
	c.Policy = mesh.Random
	locality(m.GetLocalityLbConfig(), c)
}

func leastRequest(m *leastv3.LeastRequest, c *mesh.Cluster, path string, f *findings) {
	c.Policy = mesh.LeastRequest
	c.ChoiceCount = max(2, uint32Or(m.GetChoiceCount(), 2))
	c.FullScan = m.GetSelectionMethod() == leastv3.LeastRequest_FULL_SCAN
	c.ActiveRequestBias = 1
	if b := m.GetActiveRequestBias(); b != nil && b.GetDefaultValue() >= 0 { // Envoy takes 1 for what is below 0
		c.ActiveRequestBias = b.GetDefaultValue()
	}
	c.SlowStart = slowStart(m.GetSlowStartConfig(), join(path, "slow_start_config"), f)
	locality(m.GetLocalityLbConfig(), c)
}

func ringHash(m *ringv3.RingHash, c *mesh.Cluster, path string, f *findings) {
	c.Policy = mesh.RingHash
	h := &mesh.HashTable{MinRing: uint64Or(m.GetMinimumRingSize(), 1024), MaxRing: uint64Or(m.GetMaximumRingSize(), 8<<20),
		Murmur: m.GetHashFunction() == ringv3.RingHash_MURMUR_HASH_2}
	if m.GetConsistentHashingLbConfig() != nil {
		consistent(m.GetConsistentHashingLbConfig(), h)
	} else { //nolint:staticcheck // the deprecated fields are still in many files
		h.ByHostname, h.BalanceFactor = m.GetUseHostnameForHashing(), uint32Or(m.GetHashBalanceFactor(), 0)
	}
	if h.MinRing > h.MaxRing {
		f.invalid(join(path, "minimum_ring_size"), "%d is more than maximum_ring_size, %d", h.MinRing, h.MaxRing)
	}
	c.Hash, c.LocalityWeighted = h, m.GetLocalityWeightedLbConfig() != nil
}

func maglev(m *maglevv3.Maglev, c *mesh.Cluster, path string, f *findings) {
	c.Policy = mesh.Maglev
	h := &mesh.HashTable{TableSize: uint64Or(m.GetTableSize(), 65537)}
	consistent(m.GetConsistentHashingLbConfig(), h)
	if !prime(h.TableSize) {
		f.invalid(join(path, "table_size"), "must be a prime number, and %d is none", h.TableSize)
	}
	c.Hash, c.LocalityWeighted = h, m.GetLocalityWeightedLbConfig() != nil
}

// overrideHost lets requests name their hosts.
func overrideHost(m *overridev3.OverrideHost, c *mesh.Cluster, path string, f *findings) {
	for i, s := range m.GetOverrideHostSources() {
		switch {
		case s.GetHeader() == "" && s.GetMetadata() == nil:
			f.invalid(at(join(path, "override_host_sources"), i), "one of header, metadata is required")
		case s.GetHeader() != "" && s.GetMetadata() != nil:
			f.invalid(at(join(path, "override_host_sources"), i), "only one of header, metadata can be given")
		}
		c.OverrideHeaders = append(c.OverrideHeaders, strings.ToLower(s.GetHeader()))
	}
	newBalancing(m.GetFallbackPolicy(), c, join(path, "fallback_policy"), f)
}

func consistent(m *lbv3.ConsistentHashingLbConfig, h *mesh.HashTable) {
	h.ByHostname, h.BalanceFactor = m.GetUseHostnameForHashing(), uint32Or(m.GetHashBalanceFactor(), 0)
}

func locality(m *lbv3.LocalityLbConfig, c *mesh.Cluster) {
	c.LocalityWeighted = m.GetLocalityWeightedLbConfig() != nil
	if z := m.GetZoneAwareLbConfig(); z != nil {
		c.ZoneAware = &mesh.ZoneAware{RoutingEnabled: wholePercent(z.GetRoutingEnabled(), 100),
			MinClusterSize: uint64Or(z.GetMinClusterSize(), 6), FailTrafficOnPanic: z.GetFailTrafficOnPanic(),
			ForceLocal: forceLocal(z), ByWeight: z.GetLocalityBasis() == lbv3.LocalityLbConfig_ZoneAwareLbConfig_HEALTHY_HOSTS_WEIGHT}
	}
}

// forceLocal is how many healthy hosts in the own locality get everything.
func forceLocal(z *lbv3.LocalityLbConfig_ZoneAwareLbConfig) *uint32 {
	switch {
	case z.GetForceLocalZone() != nil:
		n := uint32Or(z.GetForceLocalZone().GetMinSize(), 1)
		return &n
	case z.GetForceLocalityDirectRouting(): //nolint:staticcheck // deprecated, still used
		n := uint32(1)
		return &n
	}
	return nil
}

func slowStart(m *lbv3.SlowStartConfig, path string, f *findings) *mesh.SlowStart {
	window := duration(m.GetSlowStartWindow(), 0, join(path, "slow_start_window"), f)
	if window == 0 {
		return nil
	}
	s := &mesh.SlowStart{Window: window, Aggression: 1, MinWeight: 0.1}
	if a := m.GetAggression(); a != nil && a.GetDefaultValue() > 0 { // Envoy takes 1 for what is not above 0
		s.Aggression = a.GetDefaultValue()
	}
	if w := m.GetMinWeightPercent(); w != nil {
		s.MinWeight = w.GetValue() / 100
	}
	return s
}

// The rest turns the messages of the old form into those of the new one, which have the same fields.

var ringFunctions = map[clusterv3.Cluster_RingHashLbConfig_HashFunction]ringv3.RingHash_HashFunction{
	clusterv3.Cluster_RingHashLbConfig_XX_HASH:       ringv3.RingHash_XX_HASH,
	clusterv3.Cluster_RingHashLbConfig_MURMUR_HASH_2: ringv3.RingHash_MURMUR_HASH_2,
}

func slowStartOf(o *clusterv3.Cluster_SlowStartConfig) *lbv3.SlowStartConfig {
	return &lbv3.SlowStartConfig{SlowStartWindow: o.GetSlowStartWindow(), Aggression: o.GetAggression(),
		MinWeightPercent: o.GetMinWeightPercent()}
}

func consistentOf(o *clusterv3.Cluster_CommonLbConfig) *lbv3.ConsistentHashingLbConfig {
	c := o.GetConsistentHashingLbConfig()
	return &lbv3.ConsistentHashingLbConfig{UseHostnameForHashing: c.GetUseHostnameForHashing(), HashBalanceFactor: c.GetHashBalanceFactor()}
}

func localityOf(o *clusterv3.Cluster_CommonLbConfig) *lbv3.LocalityLbConfig {
	z := o.GetZoneAwareLbConfig()
	switch {
	case o.GetLocalityWeightedLbConfig() != nil:
		return &lbv3.LocalityLbConfig{LocalityConfigSpecifier: &lbv3.LocalityLbConfig_LocalityWeightedLbConfig_{
			LocalityWeightedLbConfig: &lbv3.LocalityLbConfig_LocalityWeightedLbConfig{}}}
	case z != nil:
		return &lbv3.LocalityLbConfig{LocalityConfigSpecifier: &lbv3.LocalityLbConfig_ZoneAwareLbConfig_{
			ZoneAwareLbConfig: &lbv3.LocalityLbConfig_ZoneAwareLbConfig{RoutingEnabled: z.GetRoutingEnabled(),
				MinClusterSize: z.GetMinClusterSize(), FailTrafficOnPanic: z.GetFailTrafficOnPanic()}}}
	}
	return nil
}

func uint64Or(v *wrapperspb.UInt64Value, absent uint64) uint64 {
	if v == nil {
		return absent
	}
	return v.GetValue()
}

// wholePercent is how Envoy takes a percentage where it needs an integer.
func wholePercent(p *typev3.Percent, absent uint32) uint32 {
	if p == nil {
		return absent
	}
	return uint32(min(p.GetValue(), 100))
}

func prime(n uint64) bool {
	if n < 2 || n%2 == 0 {
		return n == 2
	}
	for d := uint64(3); d*d <= n; d += 2 {
		if n%d == 0 {
			return false
		}
	}
	return true
}
