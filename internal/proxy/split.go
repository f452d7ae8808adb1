// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// share chooses one cluster of a split by weight.
func share(split []mesh.WeightedCluster) *mesh.WeightedCluster {
	if len(split) == 1 {
		return &split[0]
	}
	return shareAt(split, rand.Uint64())
}

// shareAt is the cluster of a split that a number falls to: its remainder by the sum of the weights is looked for.
func shareAt(split []mesh.WeightedCluster, n uint64) *mesh.WeightedCluster {
	var sum uint64
	for i := range split {
		sum += uint64(split[i].Weight)
	}
	if sum == 0 {
		return &split[0]
	}
	n %= sum
	for i := range split {
		if w := uint64(split[i].Weight); n >= w {
			n -= w
			continue
		}
		return &split[i]
	}
	return &split[len(split)-1]
}

// split chooses the cluster of the route that the request goes to.
func (x *exchange) split(a *mesh.RouteAction) {
	if len(a.Clusters) == 1 {
		x.share = &a.Clusters[0]
		return
	}
	if a.SplitHeader != "" {
		if n, ok := number(&x.c.req, a.SplitHeader); ok {
			x.share = shareAt(a.Clusters, n)
			return
		}
	}
	if a.SplitByHash {
		if n, ok := x.hashBy(a.HashPolicy, false); ok {
			x.share = shareAt(a.Clusters, n)
			return
		}
	}
	x.share = shareAt(a.Clusters, x.draw.value())
}

// number is what a field says that is there once.
func number(r *http1.Request, name string) (uint64, bool) {
	var v string
	n := 0
	for i := range r.Header.Fields {
		if f := &r.Header.Fields[i]; f.Name == name {
			v = f.Value
			n++
		}
	}
	if n != 1 {
		return 0, false
	}
	u, err := strconv.ParseUint(strings.TrimPrefix(v, "+"), 10, 64)
	return u, err == nil
}

// clusterName is the cluster that the share names; it may not exist.
func (x *exchange) clusterName() string {
	if x.share.Header == "" {
		return x.share.Name
	}
	name, _ := field(&x.c.req, x.share.Header)
	return name
}
