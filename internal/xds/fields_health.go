// SPDX-License-Identifier: Apache-2.0

package xds

// healthFields are the rows of active health checks.
func healthFields() []section {
	const (
		events = "it observes: what checks find is in the statistics and in /clusters"
		plain  = "connections are plain text"
	)
	return []section{
		{name: "active_check", title: "Health checks", msg: "envoy.config.core.v3.HealthCheck", rows: []row{
			{path: "name", rule: honoured},
			{path: "timeout", rule: honoured},
			{path: "interval", rule: honoured},
			{path: "initial_jitter", rule: honoured, note: "absent: none"},
			{path: "interval_jitter", rule: honoured, note: "absent: none"},
			{path: "interval_jitter_percent", rule: honoured, note: "absent: none"},
			{path: "unhealthy_threshold", rule: honoured},
			{path: "healthy_threshold", rule: honoured},
			{path: "reuse_connection", rule: honoured, note: "absent: true"},
			{path: "no_traffic_interval", rule: honoured, note: "absent: 60 s"},
			{path: "no_traffic_healthy_interval", rule: honoured, note: "absent: no_traffic_interval"},
			{path: "unhealthy_interval", rule: honoured, note: "absent: interval"},
			{path: "unhealthy_edge_interval", rule: honoured, note: "absent: unhealthy_interval"},
			{path: "healthy_edge_interval", rule: honoured, note: "absent: interval"},
			{path: "http_health_check.host", rule: honoured, note: "absent: the cluster's name"},
			{path: "http_health_check.path", rule: honoured},
			{path: "http_health_check.method", rule: honoured, note: "absent: GET"},
			{path: "http_health_check.send", rule: honoured, into: []string{"payload"}},
			{path: "http_health_check.receive", rule: honoured, into: []string{"payload"}},
			{path: "http_health_check.response_buffer_size", rule: honoured, note: "absent: 1024"},
			{path: "http_health_check.request_headers_to_add", rule: honoured, into: []string{"header_option"},
				note: "without command operators"},
			{path: "http_health_check.request_headers_to_remove", rule: honoured},
			{path: "http_health_check.expected_statuses.start", rule: honoured, note: "absent: 200 only"},
			{path: "http_health_check.expected_statuses.end", rule: honoured},
			{path: "http_health_check.retriable_statuses.start", rule: honoured, note: "absent: none"},
			{path: "http_health_check.retriable_statuses.end", rule: honoured},
			{path: "http_health_check.service_name_matcher", rule: honoured, into: []string{"string_match"}},
			{path: "http_health_check.codec_client_type", rule: honoured, note: "HTTP1"},
			{path: "http_health_check.use_alpn_protocol", rule: refused, note: plain + ", without ALPN"},
			{path: "tcp_health_check.send", rule: honoured, into: []string{"payload"}},
			{path: "tcp_health_check.receive", rule: honoured, into: []string{"payload"}},
			{path: "tcp_health_check.proxy_protocol_config.version", rule: honoured, note: "V2"},
			{path: "grpc_health_check", rule: refused, note: "HTTP/2 is not spoken to upstreams: give http_health_check or tcp_health_check"},
			{path: "custom_health_check", rule: refused, note: "give http_health_check or tcp_health_check"},
			{path: "tls_options", rule: refused, note: plain},
			{path: "transport_socket_match_criteria", rule: refused, note: plain},
			{path: "event_log_path", rule: skipped, note: events},
			{path: "event_logger", rule: skipped, note: events},
			{path: "always_log_health_check_failures", rule: skipped, note: events},
			{path: "always_log_health_check_success", rule: skipped, note: events},
		}},
		{name: "payload", title: "Bytes of health checks", msg: "envoy.config.core.v3.HealthCheck.Payload", rows: []row{
			{path: "text", rule: honoured, note: "in hexadecimal digits"},
			{path: "binary", rule: honoured},
		}},
	}
}
