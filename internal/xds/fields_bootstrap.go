// SPDX-License-Identifier: Apache-2.0

package xds

// bootstrapFields are the rows of the start file and of the places that other files are named at.
func bootstrapFields() []section {
	const (
		adsOnly  = "it is only used to talk to a control plane"
		stats    = "it only shapes statistics"
		tls      = "it is only used by TLS, which is refused where it is asked for"
		xds      = "configuration comes from files: give path_config_source"
		lifetime = "it tunes the Envoy process"
	)
	return []section{
		{name: "bootstrap", title: "Bootstrap", msg: "envoy.config.bootstrap.v3.Bootstrap", rows: []row{
			{path: "node.id", rule: honoured, note: "--service-node replaces it"},
			{path: "node.cluster", rule: honoured, note: "--service-cluster replaces it"},
			{path: "node.metadata", rule: skipped, note: adsOnly},
			{path: "node.dynamic_parameters", rule: skipped, note: adsOnly},
			{path: "node.locality.region", rule: honoured, note: "localities of endpoints are ordered by it"},
			{path: "node.locality.zone", rule: honoured},
			{path: "node.locality.sub_zone", rule: honoured},
			{path: "node.user_agent_name", rule: skipped, note: adsOnly},
			{path: "node.user_agent_version", rule: skipped, note: adsOnly},
			{path: "node.user_agent_build_version", rule: skipped, note: adsOnly},
			{path: "node.extensions", rule: skipped, note: adsOnly},
			{path: "node.client_features", rule: skipped, note: adsOnly},
			{path: "node.listening_addresses", rule: skipped, note: adsOnly},
			{path: "admin.address", rule: honoured, into: []string{"bind_address"}},
			{path: "admin.access_log", rule: skipped, note: "the admin server keeps no access log"},
			{path: "admin.access_log_path", rule: skipped, note: "the admin server keeps no access log"},
			{path: "admin.profile_path", rule: skipped, note: "there is no CPU profiler to write there"},
			{path: "admin.ignore_global_conn_limit", rule: skipped, note: "there is no global connection limit"},
			{path: "static_resources.listeners", rule: honoured, into: []string{"listener"}},
			{path: "static_resources.clusters", rule: honoured, into: []string{"cluster"}},
			{path: "static_resources.secrets", rule: skipped, note: tls},
			{path: "dynamic_resources.lds_config", rule: honoured, into: []string{"config_source"}},
			{path: "dynamic_resources.cds_config", rule: honoured, into: []string{"config_source"}},
			{path: "dynamic_resources.ads_config", rule: refused, note: xds},
			{path: "cluster_manager.local_cluster_name", rule: honoured, note: "a static cluster: with it, balancing is zone aware"},
			{path: "cluster_manager.outlier_detection", rule: skipped, note: "it only names an event log"},
			{path: "cluster_manager.load_stats_config", rule: skipped, note: "load is not reported to a control plane"},
			{path: "cluster_manager.enable_deferred_cluster_creation", rule: skipped, note: "it tunes memory"},
			{path: "hds_config", rule: skipped, note: "health is not checked on behalf of a control plane"},
			{path: "flags_path", rule: skipped, note: lifetime},
			{path: "stats_sinks", rule: skipped, note: "statistics are read from the admin address"},
			{path: "stats_config", rule: skipped, note: stats},
			{path: "stats_flush_interval", rule: skipped, note: stats},
			{path: "stats_flush_on_admin", rule: skipped, note: stats},
			{path: "stats_eviction_interval", rule: skipped, note: stats},
			{path: "deferred_stat_options", rule: skipped, note: stats},
			{path: "stats_server_version_override", rule: skipped, note: stats},
			{path: "enable_dispatcher_stats", rule: skipped, note: stats},
			{path: "watchdog", rule: skipped, note: lifetime},
			{path: "watchdogs", rule: skipped, note: lifetime},
			{path: "fatal_actions", rule: skipped, note: lifetime},
			{path: "memory_allocator_manager", rule: skipped, note: lifetime},
			{path: "tracing", rule: skipped, note: "spans are not made"},
			{path: "perf_tracing_file_path", rule: skipped, note: lifetime},
			{path: "application_log_config", rule: skipped, note: "--log-level shapes the log"},
			{path: "default_regex_engine", rule: skipped, note: "regular expressions are refused where they are asked for"},
			{path: "certificate_provider_instances", rule: skipped, note: tls},
			{path: "inline_headers", rule: skipped, note: "it tunes how Envoy stores headers"},
			{path: "xds_delegate_extension", rule: skipped, note: adsOnly},
			{path: "xds_config_tracker_extension", rule: skipped, note: adsOnly},
			{path: "grpc_async_client_manager_config", rule: skipped, note: adsOnly},
			{path: "layered_runtime.layers.name", rule: honoured, note: "a name only"},
			{path: "layered_runtime.layers.admin_layer", rule: skipped, note: "there are no runtime values to change"},
			{path: "layered_runtime.layers.static_layer{}", rule: honoured, note: "only empty: runtime values could change a request"},
			{path: "layered_runtime.layers.disk_layer", rule: refused, note: "runtime values could change a request"},
			{path: "layered_runtime.layers.rtds_layer", rule: refused, note: xds},
			{path: "overload_manager", rule: refused, note: "overload actions could refuse requests"},
			{path: "default_config_source", rule: refused, note: xds},
			{path: "config_sources", rule: refused, note: xds},
		}},
		{name: "config_source", title: "Where other files are named", msg: "envoy.config.core.v3.ConfigSource", rows: []row{
			{path: "path_config_source.path", rule: honoured, note: "a file with a DiscoveryResponse in YAML or JSON (not .pb, not .pb_text)"},
			{path: "path_config_source.watched_directory.path", rule: honoured, note: "a move into it reloads the file"},
			{path: "path", rule: honoured, note: "the deprecated form of path_config_source.path"},
			{path: "resource_api_version", rule: honoured, note: "V3 only"},
			{path: "initial_fetch_timeout", rule: skipped, note: "files are read at once"},
			{path: "api_config_source", rule: refused, note: xds},
			{path: "ads", rule: refused, note: xds},
			{path: "self", rule: refused, note: xds},
		}},
		{name: "bind_address", title: "Addresses that are listened on", msg: "envoy.config.core.v3.Address", rows: []row{
			{path: "socket_address.protocol", rule: honoured, note: "TCP only"},
			{path: "socket_address.address", rule: honoured, note: "an IP address"},
			{path: "socket_address.port_value", rule: honoured},
			{path: "socket_address.ipv4_compat", rule: honoured, note: "for listeners on ::"},
			{path: "socket_address.named_port", rule: refused, note: "give port_value"},
			{path: "socket_address.resolver_name", rule: refused, note: "give an IP address"},
			{path: "pipe", rule: refused, note: "give socket_address"},
			{path: "envoy_internal_address", rule: refused, note: "give socket_address"},
		}},
		{name: "raw_buffer", title: "Plain transport socket", msg: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
	}
}
