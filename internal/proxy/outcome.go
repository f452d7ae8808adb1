// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"
	"strconv"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// outcome is the status that outlier detection is told of: what stands for the code of a gRPC call that ended with its head, else
// what the cluster's matcher makes of the answer (Envoy: router.cc, onUpstreamHeaders).
func (c *cluster) outcome(r *http1.Response, grpc bool) int {
	if grpc {
		if code := r.Header.Value("grpc-status"); code != "" {
			n, err := strconv.ParseUint(code, 10, 64)
			if err != nil || n >= uint64(len(grpcAsHTTP)) {
				return 500
			}
			return grpcAsHTTP[n]
		}
	}
	m := c.view.Load().config.ErrorMatcher
	switch {
	case m == nil:
		return r.Status
	case isError(m, matchable(r)):
		return max(r.Status, 500)
	}
	return 200
}

func isError(m *mesh.ErrorMatcher, r *http1.Request) bool {
	hit := func(m *mesh.ErrorMatcher) bool { return isError(m, r) }
	miss := func(m *mesh.ErrorMatcher) bool { return !isError(m, r) }
	switch {
	case m.Any:
		return true
	case m.And != nil:
		return !slices.ContainsFunc(m.And, miss)
	case m.Or != nil:
		return slices.ContainsFunc(m.Or, hit)
	case m.Not != nil:
		return miss(m.Not)
	}
	return !slices.ContainsFunc(m.Headers, func(h mesh.HeaderMatch) bool { return !headerMatches(&h, r) })
}
