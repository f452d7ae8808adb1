// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/http"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	allowv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/allow_listed_routes/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/previous_routes/v3"
	safev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/safe_cross_scheme/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// internalRedirect reads a policy; nil: there is none.
func internalRedirect(p *routev3.InternalRedirectPolicy, path string, f *findings) *mesh.InternalRedirect {
	if p == nil {
		return nil
	}
	r := &mesh.InternalRedirect{Max: uint32Or(p.GetMaxInternalRedirects(), 1), CrossScheme: p.GetAllowCrossSchemeRedirect()}
	for _, c := range p.GetRedirectResponseCodes() {
		switch c { // Envoy leaves out all others
		case 301, 302, 303, 307, 308:
			r.Codes = append(r.Codes, int(c))
		}
	}
	if len(p.GetRedirectResponseCodes()) == 0 {
		r.Codes = []int{http.StatusFound}
	}
	for i, name := range p.GetResponseHeadersToCopy() {
		sub, lower := at(join(path, "response_headers_to_copy"), i), strings.ToLower(name)
		switch {
		case untouchable(lower):
			f.invalid(sub, "headers that begin with : and host may not be copied")
		case slices.Contains(framing, lower):
			f.refused(sub, "%s is not supported: leno does not copy what says how a message is sent", lower)
		}
		r.Copy = append(r.Copy, lower)
	}
	for _, e := range p.GetPredicates() {
		switch m := unpack(e.GetTypedConfig()).(type) { // another type is refused by the table
		case *previousv3.PreviousRoutesConfig:
			r.Predicates = append(r.Predicates, mesh.RedirectPredicate{Kind: mesh.PreviousRoutes})
		case *allowv3.AllowListedRoutesConfig:
			r.Predicates = append(r.Predicates, mesh.RedirectPredicate{Kind: mesh.AllowListedRoutes, Routes: m.GetAllowedRouteNames()})
		case *safev3.SafeCrossSchemeConfig:
			r.Predicates = append(r.Predicates, mesh.RedirectPredicate{Kind: mesh.SafeCrossScheme})
		}
	}
	return r
}
