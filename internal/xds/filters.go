// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	setv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_metadata/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/leno-mesh/leno/internal/mesh"
)

// httpFilters reads the filters before the router, which must be the last.
func httpFilters(list []*hcmv3.HttpFilter, path string, f *findings) []mesh.HTTPFilter {
	if len(list) == 0 {
		f.refused(path, "is empty: the last filter must be envoy.filters.http.router")
		return nil
	}
	var all []mesh.HTTPFilter
	for i, flt := range list {
		_, router := unpack(flt.GetTypedConfig()).(*routerv3.Router)
		last := i == len(list)-1
		switch sub := at(path, i); {
		case flt.GetConfigDiscovery() != nil:
			// refused by the table
		case flt.GetTypedConfig() == nil:
			f.invalid(sub, "typed_config is missing")
		case router && !last:
			f.invalid(sub, "terminal filter %s must be the last", flt.GetName())
		case router && flt.GetDisabled():
			f.invalid(join(sub, "disabled"), "the last filter cannot be disabled")
		case !router && last && !f.hasBelow(mesh.Refused, sub):
			f.invalid(sub, "the last filter must be envoy.filters.http.router")
		case !router:
			if c := filterConfig(flt.GetTypedConfig(), join(sub, "typed_config"), f); c != nil {
				all = append(all, mesh.HTTPFilter{Name: flt.GetName(), Disabled: flt.GetDisabled(), Config: c})
			}
		}
	}
	return all
}

// filterConfig reads the settings of a filter; nil: it is refused or skipped by the table.
func filterConfig(a *anypb.Any, path string, f *findings) mesh.FilterConfig {
	switch m := unpack(a).(type) {
	case *rbacv3.RBAC:
		return rbac(m, path, f)
	case *faultv3.HTTPFault:
		return fault(m, path, f)
	case *corsv3.Cors:
		return &mesh.CORSFilter{}
	case *headerv3.HeaderMutation:
		h := headerMutation(m.GetMutations(), join(path, "mutations"), f)
		h.MostSpecificWins = m.GetMostSpecificHeaderMutationsWins()
		return h
	case *limitv3.LocalRateLimit:
		return localRateLimit(m, false, path, f)
	case *healthv3.HealthCheck:
		return healthCheckFilter(m, path, f)
	case *setv3.Config:
		return setMetadata(m)
	case *bufferv3.Buffer:
		return &mesh.Buffer{Max: m.GetMaxRequestBytes().GetValue()}
	}
	return nil
}

// routeFilterConfig reads what a route says of a filter; nil: nothing, or it is refused or skipped by the table.
func routeFilterConfig(a *anypb.Any, path string, f *findings) mesh.FilterConfig {
	switch m := unpack(a).(type) {
	case *rbacv3.RBACPerRoute:
		return rbac(m.GetRbac(), join(path, "rbac"), f)
	case *faultv3.HTTPFault:
		return fault(m, path, f)
	case *corsv3.CorsPolicy:
		return cors(m, path, f)
	case *headerv3.HeaderMutationPerRoute:
		return headerMutation(m.GetMutations(), join(path, "mutations"), f)
	case *limitv3.LocalRateLimit:
		return localRateLimit(m, true, path, f)
	case *bufferv3.BufferPerRoute:
		return &mesh.Buffer{Max: m.GetBuffer().GetMaxRequestBytes().GetValue(), Disabled: m.GetDisabled()}
	}
	return nil
}

// filterOverrides reads what one level of a route says of filters.
func filterOverrides(all map[string]*anypb.Any, path string, f *findings) mesh.FilterOverrides {
	if len(all) == 0 {
		return nil
	}
	out := mesh.FilterOverrides{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sub := fmt.Sprintf("%s[%q]", path, name)
		m, wrapped := unpack(all[name]).(*routev3.FilterConfig)
		if !wrapped {
			out[name] = mesh.FilterOverride{Config: routeFilterConfig(all[name], sub, f)}
			continue
		}
		o := mesh.FilterOverride{Disabled: m.GetDisabled()}
		switch {
		case m.GetConfig() != nil:
			if !o.Disabled { // else Envoy does not look at it
				o.Config = routeFilterConfig(m.GetConfig(), join(sub, "config"), f)
			}
		case !o.Disabled:
			f.invalid(sub, "config is missing, or disabled: true")
		}
		out[name] = o
	}
	return out
}
