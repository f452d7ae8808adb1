// SPDX-License-Identifier: Apache-2.0

// Package generate makes random configurations that Envoy takes, and random requests to them, for test/oracle to send through
// Envoy and leno and compare. What it makes depends on its seed only, and is deterministic to answer: no chance, no timers,
// one endpoint a cluster.
//
// A feature is one function in one of the lists `matches`, `actions`, `routeParts`, `hostParts`, `managerParts`, `filters` or
// `requestParts`; a new one joins its list.
package generate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// object is one message of a configuration.
type object = map[string]any

type list = []any

// Generator draws. Not for concurrent use.
type Generator struct{ r *rand.Rand }

// New returns the generator of one configuration and its requests.
func New(seed, number uint64) *Generator { return &Generator{rand.New(rand.NewPCG(seed, number))} }

// Clusters are what the bootstrap must define: all with the upstream of that name but Dead, which refuses.
var Clusters = []string{"blue", "green", "red"}

// Dead is the cluster whose endpoint refuses; None has no endpoint; Unknown is not defined.
const Dead, None, Unknown = "dead", "none", "unknown"

// chance is true one time in n.
func (g *Generator) chance(n int) bool { return g.r.IntN(n) == 0 }

// between draws from lo to hi, both included.
func (g *Generator) between(lo, hi int) int { return lo + g.r.IntN(hi-lo+1) }

func one[T any](g *Generator, of ...T) T { return of[g.r.IntN(len(of))] }

// some calls each function one time in n.
func some[T any](g *Generator, n int, of []func(*Generator, T), into T) {
	for _, f := range of {
		if g.chance(n) {
			f(g, into)
		}
	}
}

func (g *Generator) bool() bool { return g.chance(2) }

func typed(name string, fields object) object {
	fields["@type"] = "type.googleapis.com/envoy.extensions.filters." + name
	return fields
}

// Listeners returns a file for lds_config, with the placeholders of the corpus: a listener web, and one named version that
// answers with version once all is in force.
func (g *Generator) Listeners(version int) string {
	marker := listener("version", object{"stat_prefix": "version", "http_filters": list{router()}, "route_config": object{
		"virtual_hosts": list{object{"name": "all", "domains": list{"*"}, "routes": list{object{"match": object{"prefix": "/"},
			"direct_response": object{"status": 200, "body": object{"inline_string": fmt.Sprintf("version %d", version)}}}}}}}})
	text, err := json.MarshalIndent(object{"version_info": fmt.Sprint(version), "resources": list{listener("web", g.manager()), marker}}, "", " ")
	if err != nil {
		panic(err) // only values that JSON can hold are put together here
	}
	return string(text)
}

func listener(name string, manager object) object {
	return object{"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": name,
		"address": object{"socket_address": object{"address": "127.0.0.1", "port_value": "{{port `" + name + "`}}"}},
		"filter_chains": list{object{"filters": list{object{"name": "hcm",
			"typed_config": typed("network.http_connection_manager.v3.HttpConnectionManager", manager)}}}}}
}

func router() object {
	return object{"name": "envoy.filters.http.router", "typed_config": typed("http.router.v3.Router", object{})}
}
