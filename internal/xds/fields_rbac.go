// SPDX-License-Identifier: Apache-2.0

package xds

func rbacFields() []section {
	rules := func(stats row) []row {
		return []row{
			{path: "rules", rule: honoured, into: []string{"rbac_rules"}},
			{path: "shadow_rules", rule: honoured, into: []string{"rbac_rules"}},
			{path: "rules_stat_prefix", rule: stats.rule, note: stats.note},
			{path: "shadow_rules_stat_prefix", rule: stats.rule, note: stats.note},
			{path: "track_per_rule_stats", rule: honoured},
			{path: "matcher", rule: refused, note: "give rules"},
			{path: "shadow_matcher", rule: refused, note: "give shadow_rules"},
		}
	}
	return []section{
		{name: "rbac", title: "HTTP filter rbac", msg: "envoy.extensions.filters.http.rbac.v3.RBAC", rows: rules(row{rule: honoured})},
		{name: "rbac_route", title: "Filter rbac below routes", msg: "envoy.extensions.filters.http.rbac.v3.RBACPerRoute", rows: []row{
			{path: "rbac", rule: honoured, into: []string{"rbac"}},
		}},
		{name: "network_rbac", title: "Network filter rbac", msg: "envoy.extensions.filters.network.rbac.v3.RBAC", rows: []row{
			{path: "stat_prefix", rule: honoured},
			{path: "rules", rule: honoured, into: []string{"rbac_rules"}},
			{path: "shadow_rules", rule: honoured, into: []string{"rbac_rules"}},
			{path: "shadow_rules_stat_prefix", rule: honoured},
			{path: "enforcement_type", rule: honoured, note: "ONE_TIME_ON_FIRST_BYTE"},
			{path: "delay_deny", rule: honoured},
			{path: "matcher", rule: refused, note: "give rules"},
			{path: "shadow_matcher", rule: refused, note: "give shadow_rules"},
		}},
		{name: "rbac_rules", title: "RBAC rules", msg: "envoy.config.rbac.v3.RBAC", rows: []row{
			{path: "action", rule: honoured},
			{path: "policies", rule: honoured, into: []string{"rbac_policy"}},
			{path: "audit_logging_options", rule: skipped, note: "audit logs are not written"},
		}},
		{name: "rbac_policy", title: "RBAC policies", msg: "envoy.config.rbac.v3.Policy", rows: []row{
			{path: "permissions", rule: honoured, into: []string{"rbac_permission"}},
			{path: "principals", rule: honoured, into: []string{"rbac_principal"}},
			{path: "condition", rule: refused, note: "expressions are not evaluated; give permissions and principals"},
			{path: "checked_condition", rule: refused, note: "expressions are not evaluated; give permissions and principals"},
			{path: "cel_config", rule: skipped, note: "expressions are not evaluated"},
		}},
		{name: "rbac_permission", title: "RBAC permissions", msg: "envoy.config.rbac.v3.Permission", rows: []row{
			{path: "and_rules.rules", rule: honoured, into: []string{"rbac_permission"}},
			{path: "or_rules.rules", rule: honoured, into: []string{"rbac_permission"}},
			{path: "not_rule", rule: honoured, into: []string{"rbac_permission"}},
			{path: "any", rule: honoured},
			{path: "header", rule: honoured, into: []string{"header_match"}},
			{path: "url_path.path", rule: honoured, into: []string{"string_match"}},
			{path: "destination_ip.address_prefix", rule: honoured, note: "with bind_to_port false the listener's, if it is one"},
			{path: "destination_ip.prefix_len", rule: honoured},
			{path: "destination_port", rule: honoured},
			{path: "destination_port_range.start", rule: honoured},
			{path: "destination_port_range.end", rule: honoured},
			{path: "requested_server_name", rule: honoured, note: "without TLS the empty name", into: []string{"string_match"}},
			{path: "metadata", rule: honoured, note: "what set_metadata has left", into: []string{"metadata_match"}},
			{path: "sourced_metadata.metadata_matcher", rule: honoured, into: []string{"metadata_match"}},
			{path: "sourced_metadata.metadata_source", rule: honoured},
			{path: "matcher", rule: refused, note: "give another permission"},
			{path: "uri_template", rule: refused, note: "give url_path"},
		}},
		{name: "metadata_match", title: "Metadata matches", msg: "envoy.type.matcher.v3.MetadataMatcher", rows: []row{
			{path: "filter", rule: honoured},
			{path: "path.key", rule: honoured},
			{path: "value", rule: honoured, into: []string{"value_match"}},
			{path: "invert", rule: honoured},
		}},
		{name: "value_match", title: "Value matches", msg: "envoy.type.matcher.v3.ValueMatcher", rows: []row{
			{path: "null_match{}", rule: honoured},
			{path: "double_match.range.start", rule: honoured},
			{path: "double_match.range.end", rule: honoured},
			{path: "double_match.exact", rule: honoured},
			{path: "string_match", rule: honoured, into: []string{"string_match"}},
			{path: "bool_match", rule: honoured},
			{path: "present_match", rule: honoured},
			{path: "list_match.one_of", rule: honoured, into: []string{"value_match"}},
			{path: "or_match.value_matchers", rule: honoured, into: []string{"value_match"}},
		}},
		{name: "rbac_principal", title: "RBAC principals", msg: "envoy.config.rbac.v3.Principal", rows: []row{
			{path: "and_ids.ids", rule: honoured, into: []string{"rbac_principal"}},
			{path: "or_ids.ids", rule: honoured, into: []string{"rbac_principal"}},
			{path: "not_id", rule: honoured, into: []string{"rbac_principal"}},
			{path: "any", rule: honoured},
			{path: "authenticated.principal_name", rule: honoured, note: "without TLS nobody is authenticated", into: []string{"string_match"}},
			{path: "source_ip.address_prefix", rule: honoured, note: "with bind_to_port false unknown: nobody passes"},
			{path: "source_ip.prefix_len", rule: honoured},
			{path: "direct_remote_ip.address_prefix", rule: honoured, note: "with bind_to_port false unknown: nobody passes"},
			{path: "direct_remote_ip.prefix_len", rule: honoured},
			{path: "remote_ip.address_prefix", rule: honoured, note: "with bind_to_port false only known from x-forwarded-for: else nobody passes"},
			{path: "remote_ip.prefix_len", rule: honoured},
			{path: "header", rule: honoured, into: []string{"header_match"}},
			{path: "url_path.path", rule: honoured, into: []string{"string_match"}},
			{path: "metadata", rule: honoured, note: "what set_metadata has left", into: []string{"metadata_match"}},
			{path: "sourced_metadata.metadata_matcher", rule: honoured, into: []string{"metadata_match"}},
			{path: "sourced_metadata.metadata_source", rule: honoured},
			{path: "filter_state", rule: refused, note: "there is no filter state"},
			{path: "custom", rule: refused, note: "give another principal"},
		}},
	}
}
