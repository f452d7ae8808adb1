// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"time"

	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

func tcpProxy(p *tcpv3.TcpProxy, path string, f *findings) *mesh.TCPProxy {
	t := &mesh.TCPProxy{
		StatPrefix:         p.GetStatPrefix(),
		IdleTimeout:        duration(p.GetIdleTimeout(), time.Hour, join(path, "idle_timeout"), f),
		IdleTimeoutSet:     p.GetIdleTimeout() != nil,
		MaxConnectAttempts: uint32Or(p.GetMaxConnectAttempts(), 1),
		MaxDuration:        duration(p.GetMaxDownstreamConnectionDuration(), 0, join(path, "max_downstream_connection_duration"), f),
		AccessLogs:         accessLogs(p.GetAccessLog(), join(path, "access_log"), f),
		MaxDurationJitter:  p.GetMaxDownstreamConnectionDurationJitterPercentage().GetValue(),
	}
	if b := p.GetBackoffOptions(); b != nil {
		t.BackOffBase = duration(b.GetBaseInterval(), 0, join(path, "backoff_options.base_interval"), f)
		t.BackOffMax = duration(b.GetMaxInterval(), 10*t.BackOffBase, join(path, "backoff_options.max_interval"), f)
		if t.BackOffMax < t.BackOffBase {
			f.invalid(join(path, "backoff_options.max_interval"), "must not be below base_interval")
		}
	}
	t.AwaitData = p.GetUpstreamConnectMode() == tcpv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA
	if p.GetUpstreamConnectMode() != tcpv3.UpstreamConnectMode_IMMEDIATE && p.GetMaxEarlyDataBytes() == nil {
		f.invalid(join(path, "max_early_data_bytes"), "is required by upstream_connect_mode %s", p.GetUpstreamConnectMode())
	}
	for _, h := range p.GetHashPolicy() { // one at most
		t.HashSourceIP = h.GetSourceIp() != nil
	}
	if p.GetCluster() != "" {
		t.Clusters = []mesh.WeightedCluster{{Name: p.GetCluster(), Weight: 1}}
		return t
	}
	var sum uint64
	for _, c := range p.GetWeightedClusters().GetClusters() {
		t.Clusters = append(t.Clusters, mesh.WeightedCluster{Name: c.GetName(), Weight: c.GetWeight()})
		sum += uint64(c.GetWeight())
	}
	if sum > 1<<32-1 {
		f.refused(join(path, "weighted_clusters"), "the sum of the weights must fit in 32 bits")
	}
	if len(t.Clusters) == 0 && !f.hasBelow(mesh.Rejected, path) {
		f.refused(path, "one of cluster, weighted_clusters must name a cluster")
	}
	return t
}
