// SPDX-License-Identifier: Apache-2.0

package generate

import "fmt"

// filter is one kind of HTTP filter: what the manager says of it, and what a virtual host or route does (nil: nothing).
type filter struct {
	name     string
	config   func(*Generator) object
	override func(*Generator) object
}

// filters are all kinds; a configuration has some of them, in any order.
var filters = []filter{
	{"fault", func(g *Generator) object { return typed("http.fault.v3.HTTPFault", g.fault()) },
		func(g *Generator) object { return typed("http.fault.v3.HTTPFault", g.fault()) }},
	{"cors", func(*Generator) object { return typed("http.cors.v3.Cors", object{}) },
		func(g *Generator) object { return typed("http.cors.v3.CorsPolicy", g.cors()) }},
	{"mutation", func(g *Generator) object {
		return typed("http.header_mutation.v3.HeaderMutation", object{"mutations": g.mutations(), "most_specific_header_mutations_wins": g.bool()})
	}, func(g *Generator) object {
		return typed("http.header_mutation.v3.HeaderMutationPerRoute", object{"mutations": g.mutations()})
	}},
	{"rbac", func(g *Generator) object { return typed("http.rbac.v3.RBAC", g.rbac()) },
		func(g *Generator) object { return typed("http.rbac.v3.RBACPerRoute", object{"rbac": g.rbac()}) }},
	{"limit", func(g *Generator) object { return typed("http.local_ratelimit.v3.LocalRateLimit", g.limit()) },
		func(g *Generator) object { return typed("http.local_ratelimit.v3.LocalRateLimit", g.limit()) }},
	{"health", func(g *Generator) object {
		return typed("http.health_check.v3.HealthCheck", object{"pass_through_mode": g.bool(),
			"headers": list{object{"name": ":path", "string_match": object{"exact": "/a"}}}})
	}, nil},
	{"buffer", func(g *Generator) object {
		return typed("http.buffer.v3.Buffer", object{"max_request_bytes": one(g, 5, 1000, 100000)})
	}, func(g *Generator) object {
		if g.bool() {
			return typed("http.buffer.v3.BufferPerRoute", object{"disabled": true})
		}
		return typed("http.buffer.v3.BufferPerRoute", object{"buffer": object{"max_request_bytes": one(g, 5, 1000)}})
	}},
}

// filters draws some filters and their members of http_filters.
func (g *Generator) filters() (chosen []filter, all list) {
	for _, i := range g.r.Perm(len(filters)) {
		if g.chance(5) {
			chosen = append(chosen, filters[i])
			all = append(all, object{"name": filters[i].name, "typed_config": filters[i].config(g)})
		}
	}
	return chosen, append(all, router())
}

// overrides lets a level say something of the filters.
func (g *Generator) overrides(at object, chosen []filter) {
	own := object{}
	for _, f := range chosen {
		if f.override == nil || !g.chance(3) {
			continue
		}
		own[f.name] = f.override(g)
		if g.chance(8) {
			own[f.name] = object{"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true}
		}
	}
	if len(own) > 0 {
		at["typed_per_filter_config"] = own
	}
}

func (g *Generator) fault() object {
	f := object{"abort": object{"http_status": one(g, 418, 503), "percentage": object{"numerator": one(g, 0, 100, 100)}}}
	if !g.chance(4) {
		f["headers"] = list{g.headerMatch()}
	}
	if g.chance(4) {
		f["upstream_cluster"] = "blue"
	}
	if g.chance(4) {
		f["abort"] = object{"header_abort": object{}, "percentage": object{"numerator": 100}}
	}
	return f
}

func (g *Generator) cors() object {
	c := object{"allow_origin_string_match": list{g.origin()}}
	for _, name := range []string{"allow_methods", "allow_headers", "expose_headers"} {
		if g.bool() {
			c[name] = one(g, "GET", "x-a,x-b")
		}
	}
	if g.bool() {
		c["max_age"] = "10"
	}
	for _, name := range []string{"allow_credentials", "allow_private_network_access", "forward_not_matching_preflights"} {
		if g.chance(3) {
			c[name] = g.bool()
		}
	}
	return c
}

func (g *Generator) origin() object {
	return one(g, object{"exact": "http://o.test"}, object{"prefix": "http://"}, object{"suffix": ".test"}, object{"safe_regex": object{"regex": "http://.*"}})
}

func (g *Generator) mutations() object {
	change := func() list {
		var all list
		for range g.between(1, 3) {
			if g.chance(4) {
				all = append(all, object{"remove": one(g, "x-a", "x-b", "x-r")})
				continue
			}
			a := object{"header": object{"key": one(g, "x-a", "x-m"), "value": one(g, "m", "100%%", "")}}
			if g.bool() {
				a["append_action"] = one(g, "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS")
			}
			all = append(all, object{"append": a})
		}
		return all
	}
	return object{"request_mutations": change(), "response_mutations": change()}
}

func (g *Generator) rbac() object {
	policies := object{}
	for i := range g.between(1, 2) {
		policies[fmt.Sprint("p", i)] = object{"permissions": list{g.permission(2)}, "principals": list{g.principal(2)}}
	}
	return object{"rules": object{"action": one(g, "ALLOW", "DENY", "DENY"), "policies": policies}}
}

func (g *Generator) permission(depth int) object {
	if depth > 0 {
		switch g.between(0, 5) {
		case 0:
			return object{"and_rules": object{"rules": list{g.permission(depth - 1), g.permission(depth - 1)}}}
		case 1:
			return object{"or_rules": object{"rules": list{g.permission(depth - 1), g.permission(depth - 1)}}}
		case 2:
			return object{"not_rule": g.permission(depth - 1)}
		}
	}
	return one(g, object{"any": true}, object{"header": g.headerMatch()}, object{"url_path": object{"path": g.stringMatchPath()}},
		object{"destination_ip": object{"address_prefix": "127.0.0.0", "prefix_len": 8}}, object{"destination_port": 1})
}

func (g *Generator) principal(depth int) object {
	if depth > 0 {
		switch g.between(0, 5) {
		case 0:
			return object{"and_ids": object{"ids": list{g.principal(depth - 1), g.principal(depth - 1)}}}
		case 1:
			return object{"or_ids": object{"ids": list{g.principal(depth - 1), g.principal(depth - 1)}}}
		case 2:
			return object{"not_id": g.principal(depth - 1)}
		}
	}
	net := object{"address_prefix": one(g, "127.0.0.1", "10.0.0.1"), "prefix_len": 32}
	return one(g, object{"any": true}, object{"header": g.headerMatch()}, object{"url_path": object{"path": g.stringMatchPath()}},
		object{"direct_remote_ip": net}, object{"remote_ip": net})
}

func (g *Generator) stringMatchPath() object {
	return one(g, object{"exact": g.path()}, object{"prefix": g.path()}, object{"suffix": "/a"}, object{"contains": "b"})
}

// limit never fills again while a test runs.
func (g *Generator) limit() object {
	all := object{"runtime_key": "none", "default_value": object{"numerator": 100}}
	l := object{"stat_prefix": "limit", "token_bucket": object{"max_tokens": g.between(1, 40), "fill_interval": "3600s"},
		"filter_enabled": all, "filter_enforced": all}
	if g.chance(3) {
		l["descriptors"] = list{object{"entries": list{one(g, object{"key": "generic_key", "value": "a"}, object{"key": "k", "value": "1"},
			object{"key": "header_match", "value": "a"}, object{"key": "destination_cluster", "value": "blue"}, object{"key": "remote_address", "value": "127.0.0.1"})},
			"token_bucket": object{"max_tokens": g.between(1, 5), "fill_interval": "3600s"}}}
	}
	if g.chance(3) {
		l["always_consume_default_token_bucket"] = g.bool()
	}
	if g.chance(3) {
		l["status"] = object{"code": one(g, 429, 503)}
	}
	if g.chance(3) {
		l["response_headers_to_add"] = list{object{"header": object{"key": "x-limited", "value": "1"}}}
	}
	if g.chance(3) {
		l["local_rate_limit_per_downstream_connection"] = g.bool()
	}
	return l
}
