// SPDX-License-Identifier: Apache-2.0

package mesh

// CORSFilter is the filter itself, which has no settings: routes have CORS.
type CORSFilter struct{}

func (*CORSFilter) filterConfig() {}

// CORS is what one level of a route says about requests of other origins (Envoy: extensions.filters.http.cors.v3.CorsPolicy).
// What it does not say is asked of the next level.
type CORS struct {
	AllowOrigins                                      []StringMatch
	AllowMethods, AllowHeaders, ExposeHeaders, MaxAge string
	AllowCredentials, AllowPrivateNetworkAccess       *bool
	ForwardNotMatchingPreflights                      *bool
	// Enabled is the share of requests that it is for; nil: all. Shadow is that of requests that are only counted; nil: none.
	Enabled, Shadow *Fraction
}

func (*CORS) filterConfig() {}
