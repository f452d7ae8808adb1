// SPDX-License-Identifier: Apache-2.0

package mesh

// HTTPFilter is one HTTP filter before the router (Envoy: HttpFilter).
type HTTPFilter struct {
	// Name is what FilterOverrides call it by; several filters may have the same.
	Name string
	// Disabled: it only runs where an override names it.
	Disabled bool
	Config   FilterConfig
}

// FilterConfig is the settings of an HTTP filter, or what a route puts in their place.
type FilterConfig interface{ filterConfig() }

// FilterOverrides are what one level of a route says about filters, by their names (Envoy: typed_per_filter_config). The level
// that is the most specific counts: share of a split, route, virtual host, route configuration.
type FilterOverrides map[string]FilterOverride

// FilterOverride is what a level says about one filter. That it says anything runs a filter that is disabled in the list.
type FilterOverride struct {
	Disabled bool
	Config   FilterConfig // nil: a less specific level's, or the filter's own
}
