// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"

	healthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

func healthCheckFilter(p *healthv3.HealthCheck, path string, f *findings) *mesh.HealthCheckFilter {
	out := &mesh.HealthCheckFilter{PassThrough: p.GetPassThroughMode().GetValue()}
	for i, h := range p.GetHeaders() {
		if m, ok := headerMatch(h, at(join(path, "headers"), i), f); ok {
			out.Headers = append(out.Headers, m)
		}
	}
	all := p.GetClusterMinHealthyPercentages()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.MinHealthy = append(out.MinHealthy, mesh.MinHealthy{Cluster: name, Percent: uint64(all[name].GetValue())})
	}
	if !out.PassThrough && p.GetCacheTime() != nil {
		f.invalid(join(path, "cache_time"), "needs pass_through_mode")
	}
	return out
}
