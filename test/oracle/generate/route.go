// SPDX-License-Identifier: Apache-2.0

package generate

// Words that configurations and requests share, so that matches hit.
var (
	names    = []string{"x-a", "x-b", "x-c"}
	values   = []string{"1", "2", "10", "abc", "ABC", "", "a,b", "-3"}
	segments = []string{"a", "b", "ab", "A", "a1"}
	patterns = []string{"a.*", ".*", "[0-9]+", "(a|b)c?", "abc", "^a$", "[^/]+"}
)

// path is one of few; requests draw from the same.
func (g *Generator) path() string {
	p := ""
	for range g.between(0, 3) {
		p += "/" + one(g, segments...)
	}
	if p == "" || g.chance(5) {
		p += "/"
	}
	return p
}

func (g *Generator) separated() string {
	p := "/" + one(g, segments...)
	if g.chance(3) {
		p += "/" + one(g, segments...)
	}
	return p
}

func (g *Generator) regex() object {
	r := object{"regex": one(g, patterns...)}
	if g.chance(3) {
		r["google_re2"] = object{}
	}
	return r
}

func (g *Generator) pathRegex() object {
	return object{"regex": one(g, "/.*", "/a.*", "/[ab]/.*", "/(a|ab)", "/.*1", "/[^?]*", "/")}
}

// stringMatch is a StringMatcher.
func (g *Generator) stringMatch() object {
	m := object{}
	switch g.between(0, 4) {
	case 0:
		m["exact"] = one(g, values...)
	case 1:
		m["prefix"] = one(g, "a", "A", "1", "ab")
	case 2:
		m["suffix"] = one(g, "c", "C", "0", "bc")
	case 3:
		m["contains"] = one(g, "b", "B", ",", "1")
	default:
		m["safe_regex"] = g.regex()
		return m
	}
	if g.chance(3) {
		m["ignore_case"] = g.bool()
	}
	return m
}

// headerMatch is a HeaderMatcher.
func (g *Generator) headerMatch() object {
	m := object{"name": one(g, append([]string{":method", ":path", "host"}, names...)...)}
	switch g.between(0, 7) {
	case 0:
		m["present_match"] = g.bool()
	case 1:
		m["range_match"] = object{"start": g.between(-5, 5), "end": g.between(6, 12)}
	case 2:
		m["exact_match"] = one(g, "1", "abc", "a.test", "/a")
	case 3:
		m["prefix_match"] = one(g, "a", "/a", "1")
	case 4:
		m["safe_regex_match"] = g.regex()
	default:
		m["string_match"] = g.stringMatch()
	}
	if g.chance(4) {
		m["invert_match"] = g.bool()
	}
	if g.chance(4) {
		m["treat_missing_header_as_empty"] = g.bool()
	}
	return m
}

// matches are conditions beside the path.
var matches = []func(*Generator, object){
	func(g *Generator, m object) { m["headers"] = list{g.headerMatch()} },
	func(g *Generator, m object) { m["headers"] = list{g.headerMatch(), g.headerMatch()} },
	func(g *Generator, m object) {
		q := object{"name": one(g, "q", "r")}
		if g.bool() {
			q["string_match"] = g.stringMatch()
		} else {
			q["present_match"] = g.bool()
		}
		m["query_parameters"] = list{q}
	},
	func(g *Generator, m object) {
		c := object{"name": one(g, "c", "d"), "string_match": g.stringMatch()}
		if g.chance(3) {
			c["invert_match"] = true
		}
		m["cookies"] = list{c}
	},
	func(g *Generator, m object) { m["grpc"] = object{} },
	func(g *Generator, m object) {
		m["runtime_fraction"] = object{"runtime_key": "none", "default_value": object{"numerator": one(g, 0, 100, 100)}}
	},
}

func (g *Generator) match() object {
	m := object{}
	switch g.between(0, 5) {
	case 0:
		m["path"] = g.path()
	case 1:
		m["path_separated_prefix"] = g.separated()
	case 2:
		m["safe_regex"] = g.pathRegex()
	case 3:
		m["prefix"] = "/"
	default:
		m["prefix"] = g.path()
	}
	if _, regex := m["safe_regex"]; !regex && g.chance(5) {
		m["case_sensitive"] = g.bool()
	}
	some(g, 8, matches, m)
	return m
}

// actions are what a route does.
var actions = []func(*Generator, object){direct, redirect, forward, forward, forward, forward}

func direct(g *Generator, r object) {
	d := object{"status": one(g, 200, 204, 404, 503)}
	if d["status"] != 204 && g.bool() { // docs/DIFFERENCES.md
		d["body"] = object{"inline_string": one(g, "direct\n", "x")}
	}
	r["direct_response"] = d
}

func redirect(g *Generator, r object) {
	d := object{}
	if g.bool() {
		d["host_redirect"] = one(g, "n.test", "n.test:80", "n.test:8443")
	}
	if g.chance(3) {
		d["port_redirect"] = one(g, 80, 443, 8080)
	}
	switch g.between(0, 3) {
	case 0:
		d["https_redirect"] = g.bool()
	case 1:
		d["scheme_redirect"] = one(g, "http", "https", "ftp")
	}
	switch g.between(0, 4) {
	case 0:
		d["path_redirect"] = one(g, "/new", "/new?n=1", "/")
	case 1:
		d["prefix_rewrite"] = one(g, "/new", "/new/", "/")
	case 2:
		d["regex_rewrite"] = g.rewrite()
	}
	if g.bool() {
		d["response_code"] = one(g, "MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT")
	}
	if g.chance(3) {
		d["strip_query"] = g.bool()
	}
	r["redirect"] = d
}

func (g *Generator) rewrite() object {
	pair := one(g, [2]string{"^/([^/]*)/(.*)$", `/\2/\1`}, [2]string{"a", "z"}, [2]string{"/+", "/"}, [2]string{"b$", `\0x`}, [2]string{"(a)(b)?", `\1-\2`}, [2]string{"[0-9]", ""})
	return object{"pattern": object{"regex": pair[0]}, "substitution": pair[1]}
}

func (g *Generator) cluster() string {
	return one(g, "blue", "blue", "blue", "green", "green", "green", "red", "red", "red", Dead, None)
}

func forward(g *Generator, r object) {
	a := object{"timeout": one(g, "0s", "10s", "20s")}
	switch g.between(0, 11) {
	case 0, 1:
		var shares list
		total := 0
		for _, c := range g.r.Perm(3) {
			w := one(g, 0, 1, 10)
			total += w
			share := object{"name": Clusters[c], "weight": w}
			some(g, 4, []func(*Generator, object){headerParts,
				func(g *Generator, s object) { s["host_rewrite_literal"] = "share.test" }}, share)
			shares = append(shares, share)
		}
		if total == 0 {
			shares[0].(object)["weight"] = 1
		}
		a["weighted_clusters"] = object{"clusters": shares, "header_name": "x-random"}
	case 2:
		a["cluster_header"] = "x-cluster"
	default:
		a["cluster"] = g.cluster()
	}
	some(g, 5, routeActionParts, a)
	r["route"] = a
}

// routeActionParts are settings of a route that forwards.
var routeActionParts = []func(*Generator, object){
	func(g *Generator, a object) {
		if g.bool() {
			a["prefix_rewrite"] = one(g, "/new", "/", "/new/", "/new?")
		} else {
			a["regex_rewrite"] = g.rewrite()
		}
	},
	func(g *Generator, a object) {
		switch g.between(0, 2) {
		case 0:
			a["host_rewrite_literal"] = "literal.test"
		case 1:
			a["host_rewrite_header"] = one(g, names...)
		default:
			a["host_rewrite_path_regex"] = object{"pattern": object{"regex": "^/([a-z]+).*$"}, "substitution": `\1.test`}
		}
		if g.bool() {
			a["append_x_forwarded_host"] = g.bool()
		}
	},
	func(g *Generator, a object) { a["retry_policy"] = g.retry() },
	func(g *Generator, a object) { a["retry_policy"] = g.retry() },
	func(g *Generator, a object) {
		a["cluster_not_found_response_code"] = one(g, "SERVICE_UNAVAILABLE", "NOT_FOUND", "INTERNAL_SERVER_ERROR")
	},
	func(g *Generator, a object) {
		p := object{"allow_cross_scheme_redirect": g.bool()}
		if g.bool() {
			p["max_internal_redirects"] = g.between(0, 3)
		}
		if g.bool() {
			p["redirect_response_codes"] = list{one(g, 301, 302, 307), 303}
		}
		if g.chance(3) {
			p["response_headers_to_copy"] = list{one(g, "x-r", "x-a")}
		}
		if g.chance(3) {
			p["predicates"] = list{object{"name": "previous", "typed_config": object{
				"@type": "type.googleapis.com/envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig"}}}
		}
		a["internal_redirect_policy"] = p
	},
	func(g *Generator, a object) { a["rate_limits"] = g.rateLimits() },
	func(g *Generator, a object) { a["priority"] = one(g, "DEFAULT", "HIGH") },
	func(g *Generator, a object) { a["max_grpc_timeout"] = one(g, "0s", "20s") },
	func(g *Generator, a object) { a["max_stream_duration"] = object{"max_stream_duration": "30s"} },
}

// rateLimits make descriptors of the filter limit.
func (g *Generator) rateLimits() list {
	actions := list{one(g, object{"generic_key": object{"descriptor_value": "a"}}, object{"request_headers": object{"header_name": "x-a", "descriptor_key": "k"}},
		object{"remote_address": object{}}, object{"destination_cluster": object{}},
		object{"header_value_match": object{"descriptor_value": "a", "headers": list{g.headerMatch()}}})}
	return list{object{"actions": actions}}
}

func (g *Generator) retry() object {
	p := object{"retry_back_off": object{"base_interval": "0.001s"}, "retry_on": one(g, "5xx", "gateway-error", "reset", "connect-failure",
		"retriable-4xx", "retriable-status-codes", "retriable-headers", "reset-before-request", "refused-stream", "5xx,retriable-4xx", "cancelled,unavailable")}
	if g.bool() {
		p["num_retries"] = g.between(0, 3)
	}
	if g.chance(3) {
		p["retriable_status_codes"] = list{one(g, 404, 418, 200)}
	}
	if g.chance(3) {
		p["retriable_headers"] = list{object{"name": "x-r", "present_match": true}}
	}
	if g.chance(3) {
		p["retriable_request_headers"] = list{g.headerMatch()}
	}
	if g.chance(3) {
		p["per_try_timeout"] = "10s"
	}
	return p
}

// headerParts adds and removes fields, at any level.
func headerParts(g *Generator, at object) {
	add := func() list {
		var all list
		for range g.between(1, 3) {
			h := object{"header": object{"key": one(g, "x-a", "x-b", "x-added", "x-more"), "value": one(g, "1", "plain", "%REQ(X-A)%", "%REQ(X-NONE?X-B):2%",
				"%PROTOCOL%", "%REQ(:PATH)%", "%RESP(X-R)%", "%ROUTE_NAME%", "100%%", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "")}}
			if g.bool() {
				h["append_action"] = one(g, "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS")
			}
			if g.chance(4) {
				h["keep_empty_value"] = g.bool()
			}
			all = append(all, h)
		}
		return all
	}
	if g.bool() {
		at["request_headers_to_add"] = add()
	}
	if g.bool() {
		at["response_headers_to_add"] = add()
	}
	if g.chance(3) {
		at["request_headers_to_remove"] = list{one(g, names...)}
	}
	if g.chance(3) {
		at["response_headers_to_remove"] = list{one(g, "x-r", "server", "x-envoy-upstream-service-time", "x-a")}
	}
}

// routeParts are settings of any route.
var routeParts = []func(*Generator, object){
	headerParts,
	func(g *Generator, r object) { r["name"] = one(g, "first", "second") },
}

func (g *Generator) route(chosen []filter) object {
	r := object{"match": g.match()}
	one(g, actions...)(g, r)
	some(g, 4, routeParts, r)
	g.overrides(r, chosen)
	return r
}
