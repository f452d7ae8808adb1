// SPDX-License-Identifier: Apache-2.0

package xds

// listenerFields are the rows of listeners and of the TCP proxy.
func listenerFields() []section {
	const (
		tune   = "it tunes how the kernel takes connections"
		logs   = "access logs are not written"
		lonely = "with one filter chain and no match it chooses nothing"
	)
	return []section{
		{name: "listener", title: "Listeners", msg: "envoy.config.listener.v3.Listener", rows: []row{
			{path: "name", rule: honoured, note: "absent: the address is the name"},
			{path: "address", rule: honoured, into: []string{"bind_address"}},
			{path: "stat_prefix", rule: honoured},
			{path: "bind_to_port", rule: honoured, note: "false owns the address in every network namespace of the scope"},
			{path: "deprecated_v1.bind_to_port", rule: honoured},
			{path: "metadata.filter_metadata", rule: honoured, note: `["leno"].tier is read: "proxy" or "socket"`},
			{path: "metadata.typed_filter_metadata", rule: skipped, note: "only filters that are not supported read it"},
			{path: "filter_chains", rule: honoured, note: "exactly one", into: []string{"filter_chain"}},
			{path: "listener_filters.name", rule: honoured},
			{path: "listener_filters.typed_config", rule: refused, note: "leno accepts tls_inspector and http_inspector, and skips them",
				observers: []string{"envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
					"envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"}},
			{path: "listener_filters_timeout", rule: skipped, note: lonely},
			{path: "continue_on_listener_filters_timeout", rule: skipped, note: lonely},
			{path: "per_connection_buffer_limit_bytes", rule: skipped, note: "it tunes buffering"},
			{path: "drain_type", rule: skipped, note: "--drain-time-s bounds every drain"},
			{path: "tcp_fast_open_queue_length", rule: skipped, note: tune},
			{path: "traffic_direction", rule: skipped, note: "it only names spans and statistics"},
			{path: "connection_balance_config", rule: skipped, note: tune},
			{path: "reuse_port", rule: skipped, note: tune},
			{path: "enable_reuse_port", rule: skipped, note: tune},
			{path: "tcp_backlog_size", rule: skipped, note: tune},
			{path: "max_connections_to_accept_per_socket_event", rule: skipped, note: tune},
			{path: "enable_mptcp", rule: skipped, note: tune},
			{path: "tcp_keepalive", rule: skipped, note: tune},
			{path: "access_log", rule: skipped, note: logs},
			{path: "ignore_global_conn_limit", rule: skipped, note: "there is no global connection limit"},
			{path: "bypass_overload_manager", rule: skipped, note: "there is no overload manager"},
			{path: "stats_matcher", rule: skipped, note: "it only shapes statistics"},
			{path: "use_original_dst", rule: refused, note: "a listener with bind_to_port false takes its address by itself"},
			{path: "default_filter_chain", rule: refused, note: "put it into filter_chains"},
			{path: "additional_addresses", rule: refused, note: "give a listener per address"},
			{path: "socket_options", rule: refused, note: "options of sockets could change who may connect"},
			{path: "transparent", rule: refused, note: "source addresses are not kept"},
			{path: "udp_listener_config", rule: refused, note: "UDP is not handled"},
		}},
		{name: "filter_chain", title: "Filter chains", msg: "envoy.config.listener.v3.FilterChain", rows: []row{
			{path: "name", rule: honoured, note: "a name only"},
			{path: "filter_chain_match{}", rule: honoured, note: "only empty: a listener has one chain"},
			{path: "filters.name", rule: honoured},
			{path: "filters.typed_config", rule: refused, note: "leno accepts tcp_proxy and http_connection_manager",
				into: []string{"tcp_proxy", "hcm"}},
			{path: "filters.config_discovery", rule: refused, note: "give typed_config"},
			{path: "transport_socket.name", rule: honoured},
			{path: "transport_socket.typed_config", rule: refused, note: "leno accepts raw_buffer", into: []string{"raw_buffer"}},
			{path: "transport_socket_connect_timeout", rule: skipped, note: "it bounds TLS handshakes only"},
			{path: "metadata", rule: skipped, note: "only filters that are not supported read it"},
		}},
		{name: "tcp_proxy", title: "TCP proxy", msg: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", rows: []row{
			{path: "stat_prefix", rule: honoured},
			{path: "cluster", rule: honoured},
			{path: "weighted_clusters.clusters.name", rule: honoured},
			{path: "weighted_clusters.clusters.weight", rule: honoured},
			{path: "idle_timeout", rule: honoured, note: "absent: 1 h; 0: never"},
			{path: "max_connect_attempts", rule: honoured},
			{path: "access_log", rule: skipped, note: logs},
			{path: "access_log_flush_interval", rule: skipped, note: logs},
			{path: "flush_access_log_on_connected", rule: skipped, note: logs},
			{path: "access_log_options", rule: skipped, note: logs},
			{path: "max_downstream_connection_duration", rule: refused, note: "connections are not cut by age"},
			{path: "tunneling_config", rule: refused, note: "connections are not tunnelled over HTTP"},
		}},
	}
}
