// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"go.yaml.in/yaml/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// listenerResource is one decoded listener. Immutable.
type listenerResource struct {
	listener *mesh.Listener
	rds      fileSource // of listener.HTTP.RDS
	rdsPath  string     // proto path of the config source
	// refs are the clusters that its inline routes name and that must exist when it is added.
	refs []clusterRef
}

// clusterRef is a place that names a cluster.
type clusterRef struct {
	path string
	name string
}

func (r *reader) listener(n *yaml.Node) (*listenerResource, *findings) {
	var p listenerv3.Listener
	f := r.read(n, &p, "listener")
	out := &listenerResource{}
	if p.GetAddress() == nil && !f.has(mesh.Rejected) {
		f.invalid("address", "is missing")
	}
	l := &mesh.Listener{
		Name:       p.GetName(),
		Address:    bindAddress(p.GetAddress(), "address", f),
		V4Compat:   p.GetAddress().GetSocketAddress().GetIpv4Compat(),
		BindToPort: boolOr(p.GetBindToPort(), boolOr(p.GetDeprecatedV1().GetBindToPort(), true)),
		StatPrefix: p.GetStatPrefix(),
		Tier:       tier(p.GetMetadata(), "metadata", f),
	}
	if l.Name == "" && l.Address.IsValid() {
		l.Name = l.Address.String() // Envoy makes up a random name
	}
	out.listener = l
	f.unit("", func(reason string) { l.TCP, l.HTTP, l.Tombstone = nil, nil, reason })
	r.filterChains(&p, out, f)
	if l.TCP == nil && l.HTTP == nil && !f.has(mesh.Rejected) && !f.has(mesh.Refused) {
		f.refused("filter_chains", "the chain must end with tcp_proxy or http_connection_manager")
	}
	f.bury()
	return out, f
}

// tier reads the listener's own wish from leno's metadata.
func tier(m *corev3.Metadata, path string, f *findings) string {
	own := m.GetFilterMetadata()["leno"]
	path = join(path, `filter_metadata["leno"]`) // valid for Envoy whatever it says
	var tier string
	for _, k := range slices.Sorted(maps.Keys(own.GetFields())) {
		if k != "tier" {
			f.refused(join(path, k), "no such setting; leno accepts tier")
			continue
		}
		if tier = own.GetFields()[k].GetStringValue(); tier != "proxy" && tier != "socket" {
			f.refused(join(path, k), `must be "proxy" or "socket"`)
			tier = ""
		}
	}
	return tier
}

func (r *reader) filterChains(p *listenerv3.Listener, out *listenerResource, f *findings) {
	chains := p.GetFilterChains()
	if len(chains) == 0 {
		if p.GetDefaultFilterChain() == nil && p.GetApiListener() == nil && p.GetUdpListenerConfig() == nil {
			f.invalid("filter_chains", "no filter chains specified")
		}
		return
	}
	if len(chains) > 1 {
		f.refused("filter_chains", "%d filter chains are not supported: leno accepts one; give a listener per address", len(chains))
		return
	}
	filters := chains[0].GetFilters()
	if len(filters) == 0 {
		f.refused("filter_chains[0]", "has no filters; leno accepts tcp_proxy or http_connection_manager")
		return
	}
	for i, flt := range filters {
		path := at("filter_chains[0].filters", i)
		if flt.GetTypedConfig() == nil {
			if flt.GetConfigDiscovery() == nil {
				f.invalid(path, "typed_config is missing")
			}
			continue
		}
		if i < len(filters)-1 && unpack(flt.GetTypedConfig()) != nil {
			f.invalid(path, "terminal filter %s must be the last filter of the chain", flt.GetName())
			continue
		}
		switch m := unpack(flt.GetTypedConfig()).(type) {
		case *tcpv3.TcpProxy:
			out.listener.TCP = tcpProxy(m, join(path, "typed_config"), f)
		case *hcmv3.HttpConnectionManager:
			r.http(m, join(path, "typed_config"), out, f)
		}
	}
}

func tcpProxy(p *tcpv3.TcpProxy, path string, f *findings) *mesh.TCPProxy {
	t := &mesh.TCPProxy{
		StatPrefix:         p.GetStatPrefix(),
		IdleTimeout:        duration(p.GetIdleTimeout(), time.Hour, join(path, "idle_timeout"), f),
		IdleTimeoutSet:     p.GetIdleTimeout() != nil,
		MaxConnectAttempts: uint32Or(p.GetMaxConnectAttempts(), 1),
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

// sameAddress says whether two listeners ask for one socket.
func sameAddress(a, b netip.AddrPort) bool { return a.IsValid() && a == b }
