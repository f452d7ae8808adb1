// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"go.yaml.in/yaml/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// endpoints reads a load assignment that stands by itself (EDS).
func (r *reader) endpoints(n *yaml.Node, local bool) (*mesh.Endpoints, *findings) {
	var p endpointv3.ClusterLoadAssignment
	f := r.read(n, &p, "load_assignment")
	e := assignment(&p, "", false, f)
	if local {
		onePriority(&p, "", f)
	}
	return e, f
}

// onePriority holds Envoy's rule for the local cluster, whose hosts are counted by locality.
func onePriority(p *endpointv3.ClusterLoadAssignment, path string, f *findings) {
	for i, loc := range p.GetEndpoints() {
		if loc.GetPriority() > 0 {
			f.invalid(join(at(join(path, "endpoints"), i), "priority"), "must be 0 in the local cluster, which cluster_manager.local_cluster_name names")
		}
	}
}

// inlineEndpoints reads the load assignment of a cluster that is not EDS.
func inlineEndpoints(p *clusterv3.Cluster, c *mesh.Cluster, f *findings) {
	la := p.GetLoadAssignment()
	byName := c.Discovery == mesh.StrictDNS || c.Discovery == mesh.LogicalDNS
	c.Endpoints = assignment(la, "load_assignment", byName, f)
	if p.GetEdsClusterConfig() != nil {
		f.invalid("eds_cluster_config", "can only be given for a cluster of type EDS")
	}
	if c.Discovery != mesh.LogicalDNS {
		return
	}
	if len(la.GetEndpoints()) != 1 || len(la.GetEndpoints()[0].GetLbEndpoints()) != 1 {
		f.invalid("load_assignment.endpoints", "a cluster of type LOGICAL_DNS has exactly one locality with one endpoint")
	}
}

// assignment reads all localities. What is refused in an endpoint leaves that endpoint out, and so for localities.
func assignment(p *endpointv3.ClusterLoadAssignment, path string, byName bool, f *findings) *mesh.Endpoints {
	policy := p.GetPolicy()
	out := &mesh.Endpoints{Overprovisioning: uint32Or(policy.GetOverprovisioningFactor(), 140),
		WeightedPriorityHealth: policy.GetWeightedPriorityHealth(), Drop: drop(policy, join(path, "policy"), f)}
	for i, loc := range p.GetEndpoints() {
		if loc.GetLocality() != nil && loc.GetLoadBalancingWeight() != nil {
			out.LocalityWeights = append(out.LocalityWeights, mesh.LocalityWeight{Priority: loc.GetPriority(),
				Locality: localityName(loc.GetLocality()), Weight: loc.GetLoadBalancingWeight().GetValue()})
		}
		lp := at(join(path, "endpoints"), i)
		dead := f.refusedOutside(lp, "lb_endpoints")
		f.unit(lp, func(string) {})
		var sum uint64
		for j, le := range loc.GetLbEndpoints() {
			ep := at(join(lp, "lb_endpoints"), j)
			f.unit(ep, func(string) {})
			e, ok := endpoint(le, ep, byName, f)
			e.Priority, e.Locality = loc.GetPriority(), localityName(loc.GetLocality())
			sum += uint64(e.Weight)
			if ok && !dead && !f.hasBelow(mesh.Refused, ep) {
				out.Endpoints = append(out.Endpoints, e)
			}
		}
		if sum > 1<<32-1 {
			f.refused(join(lp, "lb_endpoints"), "the sum of load_balancing_weight in a locality must fit in 32 bits")
		}
	}
	return out
}

func localityName(l *corev3.Locality) mesh.Locality {
	return mesh.Locality{Region: l.GetRegion(), Zone: l.GetZone(), SubZone: l.GetSubZone()}
}

var denominators = map[typev3.FractionalPercent_DenominatorType]float32{
	typev3.FractionalPercent_HUNDRED:      100,
	typev3.FractionalPercent_TEN_THOUSAND: 10_000,
	typev3.FractionalPercent_MILLION:      1_000_000,
}

// drop is the share of requests to turn away; Envoy takes one category.
func drop(p *endpointv3.ClusterLoadAssignment_Policy, path string, f *findings) float32 {
	all := p.GetDropOverloads()
	path = join(path, "drop_overloads")
	if len(all) == 0 {
		return 0
	}
	if len(all) > 1 {
		f.invalid(path, "has %d categories, and one is possible", len(all))
	}
	of := all[0].GetDropPercentage()
	share := float32(of.GetNumerator()) / denominators[of.GetDenominator()]
	if share > 1 {
		f.invalid(join(at(path, 0), "drop_percentage"), "must not be more than the whole")
		return 1
	}
	return share
}

// refusedOutside says whether something at path is refused that is not below one of its fields.
func (f *findings) refusedOutside(path, field string) bool {
	for _, x := range f.list {
		if x.severity == mesh.Refused && below(x.path, path) && !below(x.path, join(path, field)) {
			return true
		}
	}
	return false
}

func endpoint(p *endpointv3.LbEndpoint, path string, byName bool, f *findings) (mesh.Endpoint, bool) {
	e := mesh.Endpoint{Weight: uint32Or(p.GetLoadBalancingWeight(), 1), Hostname: p.GetEndpoint().GetHostname(),
		HashKey: p.GetMetadata().GetFilterMetadata()["envoy.lb"].GetFields()["hash_key"].GetStringValue()}
	if _, ok := p.GetMetadata().GetTypedFilterMetadata()["envoy.transport_sockets.proxy_protocol"]; ok {
		f.refused(join(path, "metadata.typed_filter_metadata"), "values of the PROXY header for one endpoint are not supported: give added_tlvs at the cluster")
	}
	if h := p.GetEndpoint().GetHealthCheckConfig(); h != nil {
		e.Check = endpointCheck(h, join(path, "endpoint.health_check_config"), f)
	}
	switch p.GetHealthStatus() {
	case corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY:
	case corev3.HealthStatus_DEGRADED:
		e.Health = mesh.Degraded
	case corev3.HealthStatus_DRAINING:
		e.Health = mesh.Draining
	default:
		e.Health = mesh.Unhealthy
	}
	if p.GetEndpoint() == nil {
		if p.GetEndpointName() == "" && !f.hasBelow(mesh.Rejected, path) {
			f.invalid(path, "endpoint is missing")
		}
		return e, false
	}
	sa := p.GetEndpoint().GetAddress().GetSocketAddress()
	addr := join(path, "endpoint.address")
	if sa == nil {
		if p.GetEndpoint().GetAddress().GetAddress() == nil && !f.hasBelow(mesh.Rejected, addr) {
			f.invalid(addr, "is missing")
		}
		return e, false
	}
	addr = join(addr, "socket_address")
	tcpOnly(sa, addr, f)
	ip, err := netip.ParseAddr(sa.GetAddress())
	switch {
	case err == nil && ip.Zone() != "":
		f.refused(join(addr, "address"), "an address with a zone is not supported")
		return e, false
	case err == nil && !byName:
		e.Address = netip.AddrPortFrom(ip.Unmap(), uint16(sa.GetPortValue()))
	case byName:
		e.Host, e.Port = sa.GetAddress(), uint16(sa.GetPortValue())
	default:
		f.invalid(join(addr, "address"), "must be an IP address, not %q; names need a cluster of type STRICT_DNS or LOGICAL_DNS",
			sa.GetAddress())
		return e, false
	}
	if sa.GetPortValue() == 0 && sa.GetNamedPort() == "" {
		f.refused(join(addr, "port_value"), "0 is not supported: name the port")
	}
	return e, true
}
