// SPDX-License-Identifier: Apache-2.0

package xds

// managerRows are the rows of the connection manager for what is made of a request's head.
func managerRows() []row {
	const unread = "Envoy 1.40 does not act on it"
	return []row{
		{path: "xff_num_trusted_hops", rule: honoured},
		{path: "internal_address_config.cidr_ranges.address_prefix", rule: honoured},
		{path: "internal_address_config.cidr_ranges.prefix_len", rule: honoured},
		{path: "internal_address_config.unix_sockets", rule: skipped, note: "listeners are TCP"},
		{path: "original_ip_detection_extensions.name", rule: honoured},
		{path: "original_ip_detection_extensions.typed_config", rule: refused, note: "leno accepts xff", into: []string{"xff"}},
		{path: "skip_xff_append", rule: honoured},
		{path: "append_x_forwarded_port", rule: honoured},
		{path: "scheme_header_transformation.scheme_to_overwrite", rule: honoured},
		{path: "add_user_agent", rule: honoured},
		{path: "via", rule: honoured},
		{path: "server_header_transformation", rule: honoured},
		{path: "always_set_request_id_in_response", rule: honoured},
		{path: "proxy_100_continue", rule: honoured},
		{path: "forward_client_cert_details", rule: honoured, note: "without TLS ALWAYS_FORWARD_ONLY keeps the header, all others remove it"},
		{path: "set_current_client_cert_details", rule: skipped, note: "without TLS there is no certificate to tell of"},
		{path: "request_id_extension.typed_config", rule: refused, note: "leno accepts uuid", into: []string{"uuid"}},
		{path: "normalize_path", rule: honoured},
		{path: "merge_slashes", rule: honoured},
		{path: "path_with_escaped_slashes_action", rule: honoured, note: "IMPLEMENTATION_SPECIFIC_DEFAULT is KEEP_UNCHANGED"},
		{path: "strip_matching_host_port", rule: honoured},
		{path: "strip_any_host_port", rule: honoured},
		{path: "strip_trailing_host_dot", rule: honoured},
		{path: "path_normalization_options", rule: skipped, note: unread},
		{path: "represent_ipv4_remote_address_as_ipv4_mapped_ipv6", rule: skipped, note: unread},
	}
}

// managerFields are the extensions that the rows above go into.
func managerFields() []section {
	return []section{
		{name: "xff", title: "Original address from x-forwarded-for",
			msg: "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig", rows: []row{
				{path: "xff_num_trusted_hops", rule: honoured},
				{path: "xff_trusted_cidrs.cidrs.address_prefix", rule: honoured},
				{path: "xff_trusted_cidrs.cidrs.prefix_len", rule: honoured},
				{path: "skip_xff_append", rule: honoured},
			}},
		{name: "uuid", title: "Request ids", msg: "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", rows: []row{
			{path: "pack_trace_reason", rule: skipped, note: "traces are not made, and only they change an id"},
			{path: "use_request_id_for_trace_sampling", rule: skipped, note: "traces are not made"},
		}},
	}
}
