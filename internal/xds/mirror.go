// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// mirror reads the mirror policies of one level; above are those that count where it has none.
func (rr *routeReader) mirror(list []*routev3.RouteAction_RequestMirrorPolicy, path string, above []mesh.Mirror) []mesh.Mirror {
	if len(list) == 0 {
		return above
	}
	var all []mesh.Mirror
	for i, p := range list {
		sub := at(path, i)
		m := mesh.Mirror{
			Cluster:            p.GetCluster(),
			Header:             strings.ToLower(p.GetClusterHeader()),
			Fraction:           fractionIf(p.GetRuntimeFraction()),
			Mutations:          mutations(p.GetRequestHeadersMutations(), requestPseudo, join(sub, "request_headers_mutations"), rr.f),
			HostRewriteLiteral: p.GetHostRewriteLiteral(),
			KeepHost:           p.GetDisableShadowHostSuffixAppend(),
		}
		for _, c := range m.Mutations {
			if c.Add != nil && strings.HasPrefix(c.Add.Name, "x-envoy-") {
				// The router that carries Envoy's copy would act on some of them.
				rr.f.refused(join(sub, "request_headers_mutations"), "%s is not supported: leno does not change x-envoy-* here", c.Add.Name)
			}
		}
		switch {
		case (m.Cluster == "") == (m.Header == ""):
			rr.f.invalid(sub, "exactly one of cluster and cluster_header must be given")
		case m.Cluster != "":
			rr.out.refs = append(rr.out.refs, clusterRef{join(sub, "cluster"), m.Cluster})
		}
		all = append(all, m)
	}
	return all
}
