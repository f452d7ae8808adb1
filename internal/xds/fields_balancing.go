// SPDX-License-Identifier: Apache-2.0

package xds

// balancingFields are the rows of the load-balancing policies.
func balancingFields() []section {
	const (
		runtime = "a name only: there are no runtime values"
		policy  = "give the route a hash_policy"
	)
	slowStart := []row{
		{path: "slow_start_window", rule: honoured, note: "absent or 0: no slow start"},
		{path: "aggression.default_value", rule: honoured, note: "absent: 1"},
		{path: "aggression.runtime_key", rule: honoured, note: runtime},
		{path: "min_weight_percent.value", rule: honoured, note: "absent: 10"},
	}
	return []section{
		{name: "lb_round_robin", title: "Round robin", msg: "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin", rows: []row{
			{path: "slow_start_config", rule: honoured, into: []string{"slow_start"}},
			{path: "locality_lb_config", rule: honoured, into: []string{"locality_lb"}},
		}},
		{name: "lb_random", title: "Random", msg: "envoy.extensions.load_balancing_policies.random.v3.Random", rows: []row{
			{path: "locality_lb_config", rule: honoured, into: []string{"locality_lb"}},
		}},
		{name: "lb_least_request", title: "Least request", msg: "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest", rows: []row{
			{path: "choice_count", rule: honoured, note: "absent: 2"},
			{path: "selection_method", rule: honoured},
			{path: "enable_full_scan", rule: refused, note: "give selection_method"},
			{path: "active_request_bias.default_value", rule: honoured, note: "absent: 1"},
			{path: "active_request_bias.runtime_key", rule: honoured, note: runtime},
			{path: "slow_start_config", rule: honoured, into: []string{"slow_start"}},
			{path: "locality_lb_config", rule: honoured, into: []string{"locality_lb"}},
		}},
		{name: "lb_ring_hash", title: "Ring hash", msg: "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash", rows: []row{
			{path: "hash_function", rule: honoured, note: "absent: XX_HASH"},
			{path: "minimum_ring_size", rule: honoured, note: "absent: 1024"},
			{path: "maximum_ring_size", rule: honoured, note: "absent: 8 Mi"},
			{path: "use_hostname_for_hashing", rule: honoured, note: "the deprecated form"},
			{path: "hash_balance_factor", rule: honoured, note: "the deprecated form"},
			{path: "consistent_hashing_lb_config", rule: honoured, into: []string{"consistent_hashing"}},
			{path: "locality_weighted_lb_config", rule: honoured},
		}},
		{name: "lb_maglev", title: "Maglev", msg: "envoy.extensions.load_balancing_policies.maglev.v3.Maglev", rows: []row{
			{path: "table_size", rule: honoured, note: "absent: 65537"},
			{path: "consistent_hashing_lb_config", rule: honoured, into: []string{"consistent_hashing"}},
			{path: "locality_weighted_lb_config", rule: honoured},
		}},
		{name: "lb_override_host", title: "Override host", msg: "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost", rows: []row{
			{path: "override_host_sources.header", rule: honoured},
			{path: "override_host_sources.metadata", rule: refused, note: "give header"},
			{path: "selected_host_key", rule: refused, note: "nothing reads it"},
			{path: "fallback_policy.policies.typed_extension_config.name", rule: honoured},
			{path: "fallback_policy.policies.typed_extension_config.typed_config", rule: refused, note: "leno accepts round_robin, least_request, random, ring_hash and maglev",
				into: []string{"lb_round_robin", "lb_least_request", "lb_random", "lb_ring_hash", "lb_maglev"}},
		}},
		{name: "consistent_hashing", title: "Consistent hashing",
			msg: "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig", rows: []row{
				{path: "use_hostname_for_hashing", rule: honoured},
				{path: "hash_balance_factor", rule: honoured, note: "absent: no bound"},
				{path: "hash_policy", rule: refused, note: policy},
			}},
		{name: "locality_lb", title: "Balancing over localities",
			msg: "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig", rows: []row{
				{path: "locality_weighted_lb_config", rule: honoured},
				{path: "zone_aware_lb_config.routing_enabled.value", rule: honoured, note: "absent: 100"},
				{path: "zone_aware_lb_config.min_cluster_size", rule: honoured, note: "absent: 6"},
				{path: "zone_aware_lb_config.fail_traffic_on_panic", rule: honoured},
				{path: "zone_aware_lb_config.force_locality_direct_routing", rule: honoured, note: "the deprecated form of force_local_zone"},
				{path: "zone_aware_lb_config.force_local_zone.min_size", rule: honoured, note: "absent: 1"},
				{path: "zone_aware_lb_config.locality_basis", rule: honoured, note: "absent: HEALTHY_HOSTS_NUM"},
			}},
		{name: "slow_start", title: "Slow start", msg: "envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig", rows: slowStart},
		{name: "slow_start_old", title: "Slow start, the old form", msg: "envoy.config.cluster.v3.Cluster.SlowStartConfig", rows: slowStart},
	}
}
