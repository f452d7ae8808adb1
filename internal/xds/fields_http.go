// SPDX-License-Identifier: Apache-2.0

package xds

// httpFields are the rows of the HTTP connection manager and of its filters.
func httpFields() []section {
	const (
		h2 = "it is for HTTP/2 and HTTP/3, which clients are not offered"
	)
	return []section{
		{name: "hcm", title: "HTTP connection manager",
			msg: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", rows: append(managerRows(), []row{
				{path: "codec_type", rule: honoured, note: "AUTO and HTTP1; both speak HTTP/1.1"},
				{path: "stat_prefix", rule: honoured},
				{path: "route_config", rule: honoured, into: []string{"route_config"}},
				{path: "rds.route_config_name", rule: honoured},
				{path: "rds.config_source", rule: honoured, into: []string{"config_source"}},
				{path: "http_filters.name", rule: honoured},
				{path: "http_filters.is_optional", rule: honoured, note: "true: a filter that is not supported is still refused"},
				{path: "http_filters.disabled", rule: honoured},
				filterList(),
				{path: "common_http_protocol_options.idle_timeout", rule: honoured, note: "absent: 1 h; 0: never"},
				{path: "common_http_protocol_options.max_stream_duration", rule: honoured, note: "absent: not bounded"},
				{path: "common_http_protocol_options.max_headers_count", rule: honoured},
				{path: "common_http_protocol_options.max_response_headers_kb", rule: skipped, note: "it is for upstream connections"},
				{path: "http_protocol_options.allow_absolute_url", rule: honoured, note: "only true"},
				{path: "http_protocol_options.allow_chunked_length", rule: refused, note: "such requests are refused"},
				{path: "http_protocol_options.use_balsa_parser", rule: skipped, note: "there is one parser"},
				{path: "http2_protocol_options", rule: skipped, note: h2},
				{path: "http3_protocol_options", rule: skipped, note: h2},
				{path: "server_name", rule: honoured},
				{path: "max_request_headers_kb", rule: honoured},
				{path: "stream_idle_timeout", rule: honoured, note: "absent: 5 min; 0: never"},
				{path: "request_timeout", rule: honoured},
				{path: "request_headers_timeout", rule: honoured},
				{path: "drain_timeout", rule: honoured},
				{path: "delayed_close_timeout", rule: honoured},
				{path: "use_remote_address", rule: honoured},
				{path: "generate_request_id", rule: honoured},
				{path: "preserve_external_request_id", rule: honoured},
				{path: "upgrade_configs.upgrade_type", rule: honoured, note: "websocket"},
				{path: "upgrade_configs.enabled", rule: honoured},
				logRow("access_log"),
				{path: "access_log_flush_interval", rule: skipped, note: flushNever},
				{path: "flush_access_log_on_new_request", rule: skipped, note: flushNever},
				{path: "access_log_options", rule: skipped, note: flushNever},
				{path: "tracing", rule: skipped, note: "spans are not made; trace headers pass unchanged"},
				{path: "add_proxy_protocol_connection_state", rule: skipped, note: "the PROXY protocol is not read"},
				{path: "append_local_overload", rule: skipped, note: "there is no overload manager"},
				{path: "scoped_routes", rule: refused, note: "give route_config or rds"},
				{path: "local_reply_config.mappers.filter", rule: honoured, into: []string{"reply_filter"}},
				{path: "local_reply_config.mappers.status_code", rule: honoured},
				{path: "local_reply_config.mappers.body.inline_string", rule: honoured},
				{path: "local_reply_config.mappers.body.inline_bytes", rule: honoured},
				{path: "local_reply_config.mappers.body.filename", rule: honoured, note: "read when the listener is"},
				{path: "local_reply_config.mappers.body.environment_variable", rule: refused, note: "the agent's environment is not that of Envoy"},
				{path: "local_reply_config.mappers.body_format_override", rule: honoured, into: []string{"reply_format"}},
				{path: "local_reply_config.mappers.headers_to_add", rule: honoured, into: []string{"header_option"}},
				{path: "local_reply_config.body_format", rule: honoured, into: []string{"reply_format"}},
			}...)},
		{name: "router", title: "HTTP router", msg: "envoy.extensions.filters.http.router.v3.Router", rows: []row{
			{path: "dynamic_stats", rule: skipped, note: "it only shapes statistics"},
			{path: "start_child_span", rule: skipped, note: "spans are not made"},
			{path: "upstream_log", rule: skipped, note: upstreamLogs},
			{path: "upstream_log_options", rule: skipped, note: upstreamLogs},
			{path: "suppress_grpc_request_failure_code_stats", rule: skipped, note: "it only shapes statistics"},
		}},
	}
}
