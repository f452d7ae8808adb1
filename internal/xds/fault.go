// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"cmp"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

func fault(p *faultv3.HTTPFault, path string, f *findings) *mesh.Fault {
	out := &mesh.Fault{
		Delay: faultDelay(p.GetDelay(), join(path, "delay"), f), Abort: faultAbort(p.GetAbort()),
		UpstreamCluster: p.GetUpstreamCluster(), DownstreamNodes: p.GetDownstreamNodes(), NoClusterStats: p.GetDisableDownstreamClusterStats(),
	}
	for i, h := range p.GetHeaders() {
		if m, ok := headerMatch(h, at(join(path, "headers"), i), f); ok {
			out.Headers = append(out.Headers, m)
		}
	}
	if v := p.GetMaxActiveFaults(); v != nil {
		n := v.GetValue()
		out.MaxActive = &n
	}
	return out
}

func faultDelay(p *commonv3.FaultDelay, path string, f *findings) *mesh.FaultDelay {
	if p == nil {
		return nil
	}
	d := &mesh.FaultDelay{Percentage: *fraction(p.GetPercentage())}
	if p.GetFixedDelay() != nil {
		if d.Fixed = duration(p.GetFixedDelay(), 0, join(path, "fixed_delay"), f); d.Fixed == 0 {
			return nil // less than a millisecond: Envoy does not wait
		}
	}
	return d
}

func faultAbort(p *faultv3.FaultAbort) *mesh.FaultAbort {
	if p == nil {
		return nil
	}
	a := &mesh.FaultAbort{HTTPStatus: int(p.GetHttpStatus()), Body: cmp.Or(p.GetResponseBody(), "fault filter abort"),
		Percentage: *fraction(p.GetPercentage())}
	if g, ok := p.GetErrorType().(*faultv3.FaultAbort_GrpcStatus); ok {
		a.GRPCStatus = &g.GrpcStatus
	}
	return a
}
