// SPDX-License-Identifier: Apache-2.0

package xds

// headerRows are the header operations that exist at four levels.
func headerRows(more ...row) []row {
	return append(more,
		row{path: "request_headers_to_add", rule: honoured, into: []string{"header_option"}},
		row{path: "request_headers_to_remove", rule: honoured},
		row{path: "response_headers_to_add", rule: honoured, into: []string{"header_option"}},
		row{path: "response_headers_to_remove", rule: honoured})
}

// routeFields are the rows of route configurations.
func routeFields() []section {
	const (
		regex   = "regular expressions are not matched"
		retry   = "requests are not retried"
		mirror  = "requests are not mirrored"
		filters = "it configures a filter, and only router is there"
		limits  = "only the rate limit filter reads it, which is refused where it is asked for"
		buffer  = "it bounds what is kept for retries and mirroring"
		meta    = "only filters that are not supported read it"
	)
	return []section{
		{name: "route_config", title: "Route configurations", msg: "envoy.config.route.v3.RouteConfiguration", rows: headerRows(
			row{path: "name", rule: honoured},
			row{path: "virtual_hosts", rule: honoured, into: []string{"virtual_host"}},
			row{path: "validate_clusters", rule: honoured, note: "absent: true for route_config, false for RDS"},
			row{path: "max_direct_response_body_size_bytes", rule: honoured},
			row{path: "most_specific_header_mutations_wins", rule: honoured},
			row{path: "metadata", rule: skipped, note: meta},
			row{path: "request_mirror_policies", rule: refused, note: mirror},
			row{path: "typed_per_filter_config", rule: refused, note: filters},
			row{path: "vhds", rule: refused, note: "give virtual_hosts"},
		)},
		{name: "virtual_host", title: "Virtual hosts", msg: "envoy.config.route.v3.VirtualHost", rows: headerRows(
			row{path: "name", rule: honoured},
			row{path: "domains", rule: honoured},
			row{path: "routes", rule: honoured, into: []string{"route"}},
			row{path: "virtual_clusters", rule: skipped, note: "it only shapes statistics"},
			row{path: "rate_limits", rule: skipped, note: limits},
			row{path: "cors", rule: skipped, note: "only the cors filter reads it, which is refused where it is asked for"},
			row{path: "per_request_buffer_limit_bytes", rule: skipped, note: buffer},
			row{path: "request_body_buffer_limit", rule: skipped, note: buffer},
			row{path: "metadata", rule: skipped, note: meta},
			row{path: "require_tls", rule: refused, note: "TLS is not handled"},
			row{path: "retry_policy", rule: refused, note: retry},
			row{path: "retry_policy_typed_config", rule: refused, note: retry},
			row{path: "hedge_policy", rule: refused, note: retry},
			row{path: "request_mirror_policies", rule: refused, note: mirror},
			row{path: "typed_per_filter_config", rule: refused, note: filters},
		)},
		{name: "route", title: "Routes", msg: "envoy.config.route.v3.Route", rows: headerRows(
			row{path: "name", rule: honoured},
			row{path: "match", rule: honoured, into: []string{"route_match"}},
			row{path: "route", rule: honoured, into: []string{"route_action"}},
			row{path: "direct_response.status", rule: honoured},
			row{path: "direct_response.body.inline_string", rule: honoured},
			row{path: "direct_response.body.inline_bytes", rule: honoured},
			row{path: "direct_response.body.filename", rule: honoured, note: "read when the route is read"},
			row{path: "redirect.https_redirect", rule: honoured},
			row{path: "redirect.scheme_redirect", rule: honoured},
			row{path: "redirect.host_redirect", rule: honoured},
			row{path: "redirect.port_redirect", rule: honoured},
			row{path: "redirect.path_redirect", rule: honoured},
			row{path: "redirect.prefix_rewrite", rule: honoured},
			row{path: "redirect.response_code", rule: honoured},
			row{path: "redirect.strip_query", rule: honoured},
			row{path: "redirect.regex_rewrite", rule: refused, note: regex},
			row{path: "metadata", rule: skipped, note: meta},
			row{path: "decorator", rule: skipped, note: "spans are not made"},
			row{path: "tracing", rule: skipped, note: "spans are not made"},
			row{path: "stat_prefix", rule: skipped, note: "it only shapes statistics"},
			row{path: "per_request_buffer_limit_bytes", rule: skipped, note: buffer},
			row{path: "request_body_buffer_limit", rule: skipped, note: buffer},
			row{path: "typed_per_filter_config", rule: refused, note: filters},
		)},
		{name: "route_match", title: "Route matches", msg: "envoy.config.route.v3.RouteMatch", rows: []row{
			{path: "prefix", rule: honoured},
			{path: "path", rule: honoured},
			{path: "path_separated_prefix", rule: honoured},
			{path: "case_sensitive", rule: honoured},
			{path: "headers", rule: honoured, into: []string{"header_match"}},
			{path: "query_parameters", rule: honoured, into: []string{"query_match"}},
			{path: "safe_regex", rule: refused, note: regex},
			{path: "connect_matcher", rule: refused, note: "CONNECT is not handled"},
			{path: "runtime_fraction", rule: refused, note: "give weighted_clusters"},
		}},
		{name: "header_match", title: "Header matches", msg: "envoy.config.route.v3.HeaderMatcher", rows: []row{
			{path: "name", rule: honoured},
			{path: "string_match", rule: honoured, into: []string{"string_match"}},
			{path: "exact_match", rule: honoured},
			{path: "prefix_match", rule: honoured},
			{path: "suffix_match", rule: honoured},
			{path: "contains_match", rule: honoured},
			{path: "present_match", rule: honoured},
			{path: "invert_match", rule: honoured},
			{path: "treat_missing_header_as_empty", rule: honoured},
			{path: "safe_regex_match", rule: refused, note: regex},
			{path: "range_match", rule: refused, note: "numbers are not compared"},
		}},
		{name: "query_match", title: "Query parameter matches", msg: "envoy.config.route.v3.QueryParameterMatcher", rows: []row{
			{path: "name", rule: honoured},
			{path: "string_match", rule: honoured, into: []string{"string_match"}},
			{path: "present_match", rule: honoured},
		}},
		{name: "string_match", title: "String matches", msg: "envoy.type.matcher.v3.StringMatcher", rows: []row{
			{path: "exact", rule: honoured},
			{path: "prefix", rule: honoured},
			{path: "suffix", rule: honoured},
			{path: "contains", rule: honoured},
			{path: "ignore_case", rule: honoured},
			{path: "safe_regex", rule: refused, note: regex},
		}},
		{name: "route_action", title: "Route actions", msg: "envoy.config.route.v3.RouteAction", rows: []row{
			{path: "cluster", rule: honoured},
			{path: "weighted_clusters.clusters", rule: honoured, into: []string{"cluster_weight"}},
			{path: "weighted_clusters.total_weight", rule: skipped, note: "the sum of the weights counts, as in Envoy"},
			{path: "cluster_not_found_response_code", rule: honoured, note: "SERVICE_UNAVAILABLE, NOT_FOUND, INTERNAL_SERVER_ERROR"},
			{path: "timeout", rule: honoured, note: "absent: 15 s; 0: none"},
			{path: "idle_timeout", rule: honoured},
			{path: "prefix_rewrite", rule: honoured},
			{path: "host_rewrite_literal", rule: honoured},
			{path: "append_x_forwarded_host", rule: honoured},
			{path: "auto_host_rewrite{}", rule: honoured, note: "only false"},
			{path: "rate_limits", rule: skipped, note: limits},
			{path: "include_vh_rate_limits", rule: skipped, note: limits},
			{path: "hash_policy.header.header_name", rule: honoured},
			{path: "cors", rule: skipped, note: "only the cors filter reads it, which is refused where it is asked for"},
			{path: "early_data_policy", rule: skipped, note: "it is for HTTP/3"},
			{path: "retry_policy", rule: refused, note: retry},
			{path: "retry_policy_typed_config", rule: refused, note: retry},
			{path: "hedge_policy", rule: refused, note: retry},
			{path: "request_mirror_policies", rule: refused, note: mirror},
			{path: "regex_rewrite", rule: refused, note: regex},
			{path: "host_rewrite_path_regex", rule: refused, note: regex},
			{path: "cluster_header", rule: refused, note: "give cluster or weighted_clusters"},
			{path: "priority", rule: refused, note: "there is one priority"},
		}},
		{name: "cluster_weight", title: "Shares of a split", msg: "envoy.config.route.v3.WeightedCluster.ClusterWeight", rows: headerRows(
			row{path: "name", rule: honoured},
			row{path: "weight", rule: honoured},
			row{path: "host_rewrite_literal", rule: refused, note: "set it at the route"},
			row{path: "typed_per_filter_config", rule: refused, note: filters},
		)},
		{name: "header_option", title: "Headers that are added", msg: "envoy.config.core.v3.HeaderValueOption", rows: []row{
			{path: "header.key", rule: honoured},
			{path: "header.value", rule: honoured, note: "without %COMMANDS%; %% stands for %"},
			{path: "append", rule: honoured, note: "the deprecated form of append_action"},
			{path: "append_action", rule: honoured},
			{path: "keep_empty_value", rule: honoured},
			{path: "header.raw_value", rule: refused, note: "give value"},
		}},
	}
}
