// SPDX-License-Identifier: Apache-2.0

package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/leno-mesh/leno/internal/mesh"
)

func cors(p *corsv3.CorsPolicy, path string, f *findings) *mesh.CORS {
	out := &mesh.CORS{
		AllowMethods: p.GetAllowMethods(), AllowHeaders: p.GetAllowHeaders(), ExposeHeaders: p.GetExposeHeaders(), MaxAge: p.GetMaxAge(),
		AllowCredentials: boolIf(p.GetAllowCredentials()), AllowPrivateNetworkAccess: boolIf(p.GetAllowPrivateNetworkAccess()),
		ForwardNotMatchingPreflights: boolIf(p.GetForwardNotMatchingPreflights()),
		Enabled:                      fractionIf(p.GetFilterEnabled()), Shadow: fractionIf(p.GetShadowEnabled()),
	}
	for i, o := range p.GetAllowOriginStringMatch() {
		if m, ok := stringMatch(o, at(join(path, "allow_origin_string_match"), i), f); ok {
			out.AllowOrigins = append(out.AllowOrigins, m)
		}
	}
	return out
}

// oldCORS reads the form that routes had before filters had settings below them; nil: there is none.
func oldCORS(p *routev3.CorsPolicy, path string, f *findings) *mesh.CORS {
	if p == nil {
		return nil
	}
	return cors(&corsv3.CorsPolicy{
		AllowOriginStringMatch: p.GetAllowOriginStringMatch(), AllowMethods: p.GetAllowMethods(), AllowHeaders: p.GetAllowHeaders(),
		ExposeHeaders: p.GetExposeHeaders(), MaxAge: p.GetMaxAge(), AllowCredentials: p.GetAllowCredentials(),
		FilterEnabled: p.GetFilterEnabled(), ShadowEnabled: p.GetShadowEnabled(), AllowPrivateNetworkAccess: p.GetAllowPrivateNetworkAccess(),
		ForwardNotMatchingPreflights: p.GetForwardNotMatchingPreflights(),
	}, path, f)
}

func boolIf(v *wrapperspb.BoolValue) *bool {
	if v == nil {
		return nil
	}
	b := v.GetValue()
	return &b
}

// fractionIf reads a share of which it matters that it is absent: nil.
func fractionIf(p *corev3.RuntimeFractionalPercent) *mesh.Fraction {
	if p == nil {
		return nil
	}
	return fraction(p.GetDefaultValue())
}
