// SPDX-License-Identifier: Apache-2.0

package generate

// managerParts are settings of the connection manager.
var managerParts = []func(*Generator, object){
	func(g *Generator, m object) { m["normalize_path"] = g.bool() },
	func(g *Generator, m object) { m["merge_slashes"] = g.bool() },
	func(g *Generator, m object) {
		m["path_with_escaped_slashes_action"] = one(g, "KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
	},
	func(g *Generator, m object) { m[one(g, "strip_matching_host_port", "strip_any_host_port")] = true },
	func(g *Generator, m object) { m["strip_trailing_host_dot"] = g.bool() },
	func(g *Generator, m object) {
		m["server_name"] = one(g, "leno", "x")
		m["server_header_transformation"] = one(g, "OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH")
	},
	func(g *Generator, m object) { m["via"] = one(g, "1.1 a", "b") },
	func(g *Generator, m object) { m["use_remote_address"] = g.bool() },
	func(g *Generator, m object) { m["xff_num_trusted_hops"] = g.between(0, 2) },
	func(g *Generator, m object) { m["skip_xff_append"] = g.bool() },
	func(g *Generator, m object) { m["append_x_forwarded_port"] = g.bool() },
	func(g *Generator, m object) { m["always_set_request_id_in_response"] = g.bool() },
	func(g *Generator, m object) { m["generate_request_id"] = g.bool() },
	func(g *Generator, m object) { m["preserve_external_request_id"] = g.bool() },
	func(g *Generator, m object) {
		m["scheme_header_transformation"] = object{"scheme_to_overwrite": one(g, "http", "https")}
	},
	func(g *Generator, m object) { m["add_user_agent"] = g.bool() },
	func(g *Generator, m object) { m["proxy_100_continue"] = g.bool() },
	func(g *Generator, m object) { m["max_request_headers_kb"] = g.between(1, 96) },
	func(g *Generator, m object) {
		m["common_http_protocol_options"] = object{"max_headers_count": g.between(5, 100)}
	},
	func(g *Generator, m object) {
		m["internal_address_config"] = object{"cidr_ranges": list{object{"address_prefix": one(g, "127.0.0.0", "10.0.0.0"), "prefix_len": 8}}}
	},
	func(g *Generator, m object) { m["upgrade_configs"] = list{object{"upgrade_type": "websocket"}} },
}

func (g *Generator) manager() object {
	m := object{"stat_prefix": "web", "delayed_close_timeout": "0.01s"}
	some(g, 5, managerParts, m)
	chosen, filters := g.filters()
	m["http_filters"] = filters
	m["route_config"] = g.routes(chosen)
	return m
}

// hosts of virtual hosts and of requests.
var domains = []string{"*", "a.test", "b.test", "*.test", "*.c.test", "a.*", "b.*", "a.test:8080", "A.TEST:80", "*-x.test", "c.test."}

func (g *Generator) routes(chosen []filter) object {
	order := g.r.Perm(len(domains))
	// Of domains that are the same without case or are more than one rest, each is used once.
	rc := object{}
	var hosts list
	for i := range g.between(1, 4) {
		var own list
		if i == 0 && !g.chance(5) {
			own = append(own, "*")
		}
		for range g.between(1, 3) {
			if len(order) > 0 {
				if d := domains[order[0]]; d != "*" || i > 0 {
					own = append(own, d)
				}
				order = order[1:]
			}
		}
		if i == 0 && len(own) > 0 && own[0] == "*" { // taken
			for k, o := range order {
				if domains[o] == "*" {
					order = append(order[:k:k], order[k+1:]...)
					break
				}
			}
		}
		if len(own) > 0 {
			hosts = append(hosts, g.host(len(hosts), own, chosen))
		}
	}
	rc["virtual_hosts"] = hosts
	some(g, 4, tableParts, rc)
	g.overrides(rc, chosen)
	return rc
}

// tableParts are settings of a whole route configuration.
var tableParts = []func(*Generator, object){
	headerParts,
	func(g *Generator, rc object) { rc["most_specific_header_mutations_wins"] = g.bool() },
	func(g *Generator, rc object) { rc["ignore_port_in_host_matching"] = g.bool() },
	func(g *Generator, rc object) { rc["ignore_path_parameters_in_path_matching"] = g.bool() },
	func(g *Generator, rc object) {
		if g.chance(3) {
			rc["vhost_header"] = "x-host"
		}
	},
}

// hostParts are settings of a virtual host.
var hostParts = []func(*Generator, object){
	headerParts,
	func(g *Generator, h object) { h["include_request_attempt_count"] = g.bool() },
	func(g *Generator, h object) { h["include_attempt_count_in_response"] = g.bool() },
	func(g *Generator, h object) { h["include_is_timeout_retry_header"] = g.bool() },
	func(g *Generator, h object) { h["retry_policy"] = g.retry() },
	func(g *Generator, h object) { h["rate_limits"] = g.rateLimits() },
}

func (g *Generator) host(number int, own list, chosen []filter) object {
	h := object{"name": string(rune('k' + number)), "domains": own}
	some(g, 4, hostParts, h)
	g.overrides(h, chosen)
	var routes list
	for range g.between(1, 6) {
		routes = append(routes, g.route(chosen))
	}
	if !g.chance(3) { // without it, most requests would meet no route
		r := object{"match": object{"prefix": "/"}}
		forward(g, r)
		some(g, 4, routeParts, r)
		g.overrides(r, chosen)
		routes = append(routes, r)
	}
	h["routes"] = routes
	return h
}
