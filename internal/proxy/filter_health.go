// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// healthCheck is envoy.filters.http.health_check (Envoy: extensions/filters/http/health_check/health_check.cc).
type healthCheck struct{ config *mesh.HealthCheckFilter }

func (f *healthCheck) begin(x *exchange, _ overrides) step { return &healthStep{config: f.config} }

type healthStep struct {
	passive
	config *mesh.HealthCheckFilter
	asked  bool // the request is such a question
}

func (s *healthStep) request(x *exchange) bool {
	if !headersMatch(s.config.Headers, &x.c.req) {
		return true
	}
	s.asked, x.uncounted = true, true
	if s.config.PassThrough {
		return true
	}
	if !x.c.body.Done() {
		x.collect(0, false)
		if x.cause.Load() != running {
			x.timedOut()
			return false
		}
	}
	status := 200
	x.blame("health_check_ok")
	for _, m := range s.config.MinHealthy {
		ok, details := x.healthy(m)
		if x.blame(details); !ok {
			status = 503
			x.facts.flags.add(flagLocalHealth)
			break
		}
	}
	x.reply(status, "", nil)
	return false
}

// healthy says whether enough hosts of a cluster are, in Envoy's words too.
func (x *exchange) healthy(m mesh.MinHealthy) (ok bool, details string) {
	c := x.c.p.state.Load().clusters[mesh.ClusterID{Scope: x.c.v.scope, Name: m.Cluster}]
	if c == nil {
		return false, "health_check_failed_no_cluster_found"
	}
	all := c.view.Load().set.All
	if len(all) == 0 {
		if m.Percent == 0 {
			return true, "health_check_ok_cluster_healthy"
		}
		return false, "health_check_failed_cluster_empty"
	}
	well := 0
	for _, h := range all {
		if h.State() != mesh.Unhealthy {
			well++
		}
	}
	if uint64(100*well) < uint64(len(all))*m.Percent {
		return false, "health_check_failed_cluster_unhealthy"
	}
	return true, "health_check_ok_cluster_healthy"
}

func (s *healthStep) response(x *exchange, _ int, h *http1.Header) {
	if s.asked {
		h.Set("x-envoy-upstream-healthchecked-cluster", x.c.p.state.Load().scopes[x.c.v.scope].Node.Cluster)
	}
}
