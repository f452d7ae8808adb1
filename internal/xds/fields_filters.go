// SPDX-License-Identifier: Apache-2.0

package xds

import "slices"

// watchers are the filters that only observe or tune.
var watchers = []string{
	"envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
	"stats.PluginConfig",
	"io.istio.http.peer_metadata.Config",
	"envoy.extensions.filters.http.tap.v3.Tap",
	// It names protocols for TLS handshakes with upstreams, and there are none.
	"istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
}

// filterSections are the sections of filters, filterOverrideSections those of what routes say of them.
var (
	filterSections         = []string{"router", "rbac", "fault", "cors", "header_mutation", "buffer", "local_ratelimit", "health_check", "set_metadata"}
	filterOverrideSections = []string{"filter_override", "rbac_route", "fault", "cors_policy", "header_mutation_route", "buffer_route", "local_ratelimit"}
)

func filterList() row {
	return row{path: "http_filters.typed_config", rule: refused, note: "leno accepts router and what else is named here, and skips filters that only observe",
		into: filterSections, observers: watchers}
}

func overrideRow(path string) row {
	return row{path: path, rule: refused, note: "leno accepts what is named here", into: filterOverrideSections, observers: watchers}
}

// filterFields are the rows of HTTP filters and of what routes say of them.
func filterFields() []section {
	return append([]section{
		{name: "filter_override", title: "What a route says of a filter", msg: "envoy.config.route.v3.FilterConfig", rows: []row{
			{path: "config", rule: refused, note: "leno accepts what is named here", into: filterOverrideSections[1:], observers: watchers},
			{path: "is_optional", rule: honoured, note: "true: what is not supported is still refused"},
			{path: "disabled", rule: honoured},
		}},
	}, slices.Concat(rbacFields(), faultFields(), simpleFilterFields())...)
}

func faultFields() []section {
	const runtime = "there are no runtime values: the settings count"
	return []section{
		{name: "fault", title: "HTTP filter fault, also below routes", msg: "envoy.extensions.filters.http.fault.v3.HTTPFault", rows: []row{
			{path: "delay.fixed_delay", rule: honoured},
			{path: "delay.header_delay{}", rule: honoured},
			{path: "delay.percentage", rule: honoured, note: "absent: 0"},
			{path: "abort.http_status", rule: honoured},
			{path: "abort.grpc_status", rule: honoured},
			{path: "abort.header_abort{}", rule: honoured},
			{path: "abort.percentage", rule: honoured, note: "absent: 0"},
			{path: "abort.response_body", rule: honoured, note: "absent: fault filter abort"},
			{path: "upstream_cluster", rule: honoured},
			{path: "headers", rule: honoured, into: []string{"header_match"}},
			{path: "downstream_nodes", rule: honoured},
			{path: "max_active_faults", rule: honoured},
			{path: "response_rate_limit", rule: refused, note: "answers are not slowed down"},
			{path: "delay_percent_runtime", rule: honoured, note: runtime},
			{path: "abort_percent_runtime", rule: honoured, note: runtime},
			{path: "delay_duration_runtime", rule: honoured, note: runtime},
			{path: "abort_http_status_runtime", rule: honoured, note: runtime},
			{path: "abort_grpc_status_runtime", rule: honoured, note: runtime},
			{path: "max_active_faults_runtime", rule: honoured, note: runtime},
			{path: "response_rate_limit_percent_runtime", rule: skipped, note: "response_rate_limit is not supported"},
			{path: "disable_downstream_cluster_stats", rule: honoured},
			{path: "filter_metadata", rule: skipped, note: "only access logs would read it"},
		}},
	}
}

// simpleFilterFields are the rows of filters that have few.
func simpleFilterFields() []section {
	const (
		trailers = "trailers are not passed on"
		runtime  = "there are no runtime values: default_value counts"
		lonely   = "descriptors have fixed values"
	)
	mutationRows := func(prefix string) []row {
		return []row{
			{path: prefix + "request_mutations", rule: honoured, into: []string{"mutation"}},
			{path: prefix + "response_mutations", rule: honoured, into: []string{"mutation"}},
			{path: prefix + "query_parameter_mutations", rule: refused, note: "the query is not changed"},
			{path: prefix + "request_trailers_mutations", rule: refused, note: trailers},
			{path: prefix + "response_trailers_mutations", rule: refused, note: trailers},
			{path: prefix + "formatters", rule: refused, note: "give fixed values"},
		}
	}
	return []section{
		{name: "cors", title: "HTTP filter cors", msg: "envoy.extensions.filters.http.cors.v3.Cors"},
		{name: "cors_policy", title: "Filter cors below routes", msg: "envoy.extensions.filters.http.cors.v3.CorsPolicy", rows: corsRows()},
		{name: "old_cors_policy", title: "cors of routes and virtual hosts", msg: "envoy.config.route.v3.CorsPolicy", rows: corsRows()},
		{name: "header_mutation", title: "HTTP filter header_mutation", msg: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
			rows: append(mutationRows("mutations."), row{path: "most_specific_header_mutations_wins", rule: honoured})},
		{name: "header_mutation_route", title: "Filter header_mutation below routes",
			msg: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute", rows: mutationRows("mutations.")},
		{name: "mutation", title: "Header mutations", msg: "envoy.config.common.mutation_rules.v3.HeaderMutation", rows: []row{
			{path: "remove", rule: honoured, note: "no field that says how a message is sent"},
			{path: "append", rule: honoured, note: "likewise", into: []string{"header_option"}},
			{path: "remove_on_match.key_matcher", rule: honoured, note: "likewise", into: []string{"string_match"}},
		}},
		{name: "set_metadata", title: "HTTP filter set_metadata", msg: "envoy.extensions.filters.http.set_metadata.v3.Config", rows: []row{
			{path: "metadata_namespace", rule: honoured, note: "the deprecated form: with allow_overwrite, before metadata"},
			{path: "value", rule: honoured},
			{path: "metadata.metadata_namespace", rule: honoured},
			{path: "metadata.allow_overwrite", rule: honoured},
			{path: "metadata.value", rule: honoured},
			{path: "metadata.typed_value", rule: refused, note: "give value"},
		}},
		{name: "local_ratelimit", title: "HTTP filter local_ratelimit, also below routes",
			msg: "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", rows: []row{
				{path: "stat_prefix", rule: honoured},
				{path: "status.code", rule: honoured, note: "absent, or below 400: 429"},
				{path: "token_bucket.max_tokens", rule: honoured},
				{path: "token_bucket.tokens_per_fill", rule: honoured, note: "absent: 1"},
				{path: "token_bucket.fill_interval", rule: honoured},
				{path: "filter_enabled.default_value", rule: honoured, note: "absent: none"},
				{path: "filter_enabled.runtime_key", rule: honoured, note: runtime},
				{path: "filter_enforced.default_value", rule: honoured, note: "absent: none"},
				{path: "filter_enforced.runtime_key", rule: honoured, note: runtime},
				{path: "request_headers_to_add_when_not_enforced", rule: honoured, into: []string{"header_option"}},
				{path: "response_headers_to_add", rule: honoured, into: []string{"header_option"}},
				{path: "local_rate_limit_per_downstream_connection", rule: honoured},
				{path: "enable_x_ratelimit_headers", rule: honoured},
				{path: "enable_retry_after_header", rule: honoured},
				{path: "rate_limited_as_resource_exhausted", rule: honoured},
				{path: "stage", rule: honoured},
				{path: "vh_rate_limits", rule: honoured},
				{path: "always_consume_default_token_bucket", rule: honoured},
				{path: "max_dynamic_descriptors", rule: skipped, note: lonely},
				{path: "rate_limits", rule: refused, note: "give rate_limits of routes and virtual hosts"},
				{path: "descriptors", rule: honoured, into: []string{"local_descriptor"}},
				{path: "local_cluster_rate_limit", rule: refused, note: "the bucket is not shared with other hosts"},
			}},
		{name: "local_descriptor", title: "Descriptors of local rate limits", msg: "envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor", rows: []row{
			{path: "entries.key", rule: honoured},
			{path: "entries.value", rule: honoured, note: "not empty"},
			{path: "shadow_mode", rule: refused, note: "give filter_enforced of the filter"},
			{path: "token_bucket.max_tokens", rule: honoured},
			{path: "token_bucket.tokens_per_fill", rule: honoured, note: "absent: 1"},
			{path: "token_bucket.fill_interval", rule: honoured},
		}},
		{name: "rate_limit", title: "Rules for descriptors", msg: "envoy.config.route.v3.RateLimit", rows: []row{
			{path: "stage", rule: honoured},
			{path: "disable_key", rule: honoured, note: "the rule is not looked at"},
			{path: "limit", rule: refused, note: "give the bucket of the descriptor"},
			{path: "hits_addend", rule: refused, note: "each request takes one token"},
			{path: "apply_on_stream_done", rule: refused, note: "requests take their token when they come"},
			{path: "x_ratelimit_option", rule: refused, note: "give enable_x_ratelimit_headers of the filter"},
			{path: "actions", rule: honoured, note: "source_cluster, destination_cluster, remote_address, request_headers, generic_key and header_value_match"},
			{path: "actions.source_cluster{}", rule: honoured},
			{path: "actions.destination_cluster{}", rule: honoured},
			{path: "actions.remote_address{}", rule: honoured},
			{path: "actions.request_headers.header_name", rule: honoured},
			{path: "actions.request_headers.descriptor_key", rule: honoured},
			{path: "actions.request_headers.skip_if_absent", rule: honoured},
			{path: "actions.generic_key.descriptor_key", rule: honoured, note: "absent: generic_key"},
			{path: "actions.generic_key.descriptor_value", rule: honoured},
			{path: "actions.header_value_match.descriptor_key", rule: honoured, note: "absent: header_match"},
			{path: "actions.header_value_match.descriptor_value", rule: honoured},
			{path: "actions.header_value_match.expect_match", rule: honoured},
			{path: "actions.header_value_match.headers", rule: honoured, into: []string{"header_match"}},
		}},
		{name: "health_check", title: "HTTP filter health_check", msg: "envoy.extensions.filters.http.health_check.v3.HealthCheck", rows: []row{
			{path: "pass_through_mode", rule: honoured},
			{path: "headers", rule: honoured, into: []string{"header_match"}},
			{path: "cluster_min_healthy_percentages.value", rule: honoured, note: "parts of a percent do not count, as in Envoy"},
			{path: "cache_time", rule: refused, note: "answers of upstreams are not kept"},
		}},
		{name: "buffer", title: "HTTP filter buffer", msg: "envoy.extensions.filters.http.buffer.v3.Buffer", rows: []row{
			{path: "max_request_bytes", rule: honoured},
		}},
		{name: "buffer_route", title: "Filter buffer below routes", msg: "envoy.extensions.filters.http.buffer.v3.BufferPerRoute", rows: []row{
			{path: "disabled", rule: honoured},
			{path: "buffer", rule: honoured, into: []string{"buffer"}},
		}},
	}
}

func corsRows() []row {
	return []row{
		{path: "allow_origin_string_match", rule: honoured, into: []string{"string_match"}},
		{path: "allow_methods", rule: honoured},
		{path: "allow_headers", rule: honoured},
		{path: "expose_headers", rule: honoured},
		{path: "max_age", rule: honoured},
		{path: "allow_credentials", rule: honoured},
		{path: "allow_private_network_access", rule: honoured},
		{path: "forward_not_matching_preflights", rule: honoured, note: "absent: true"},
		{path: "filter_enabled.default_value", rule: honoured},
		{path: "filter_enabled.runtime_key", rule: honoured, note: "there are no runtime values: default_value counts"},
		{path: "shadow_enabled.default_value", rule: honoured},
		{path: "shadow_enabled.runtime_key", rule: honoured, note: "there are no runtime values: default_value counts"},
	}
}
