// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"    // a type that files name
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3" // a type that files name
	httpoptsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"go.yaml.in/yaml/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// clusterResource is one decoded cluster. Immutable; for EDS the endpoints come later.
type clusterResource struct {
	cluster     *mesh.Cluster
	eds         fileSource
	edsPath     string // proto path of the config source
	serviceName string
}

func (r *reader) cluster(n *yaml.Node, viaAPI bool) (*clusterResource, *findings) {
	var p clusterv3.Cluster
	f := r.read(n, &p, "cluster")
	c := &mesh.Cluster{
		Name:                     p.GetName(),
		AltStatName:              p.GetAltStatName(),
		Discovery:                discovery(&p, f),
		ConnectTimeout:           duration(p.GetConnectTimeout(), 5*time.Second, "connect_timeout", f),
		Breakers:                 mesh.DefaultBreakers,
		PanicThreshold:           wholePercent(p.GetCommonLbConfig().GetHealthyPanicThreshold(), 50),
		DNS:                      dns(&p, f),
		IdleTimeout:              time.Hour,
		CloseOnHostFailure:       p.GetCloseConnectionsOnHostHealthFailure(),
		ViaAPI:                   viaAPI,
		PreconnectRatio:          p.GetPreconnectPolicy().GetPerUpstreamPreconnectRatio().GetValue(),
		MaxRequestsPerConnection: uint32Or(p.GetMaxRequestsPerConnection(), 0), //nolint:staticcheck // deprecated, still used
	}
	if b := breakers(p.GetCircuitBreakers(), corev3.RoutingPriority_DEFAULT); b != nil {
		c.Breakers = *b
	}
	c.HighBreakers = breakers(p.GetCircuitBreakers(), corev3.RoutingPriority_HIGH)
	balancing(&p, c, f)
	upstreamHTTP(&p, c, f)
	if c.ProxyHeader = proxyHeader(p.GetTransportSocket(), "transport_socket", f); c.ProxyHeader != nil && len(p.GetHealthChecks()) > 0 {
		f.refused("health_checks", "are not supported with upstream_proxy_protocol: they do not begin with a PROXY header")
	}
	c.Outlier = outlierDetection(p.GetOutlierDetection(), f)
	c.Check = healthCheck(p.GetHealthChecks(), f)
	c.RemoveAtOnce, c.WaitForCheck = p.GetIgnoreHealthOnHostRemoval(), p.GetCommonLbConfig().GetIgnoreNewHostsUntilFirstHc()
	if c.Check != nil && c.SlowStart != nil {
		f.refused("health_checks", "is not supported together with slow_start_config: leno accepts one of them")
	}
	out := &clusterResource{cluster: c}
	// A tombstone keeps what is known of the cluster, so that status can show it.
	f.unit("", func(reason string) { c.Tombstone = reason })
	if c.Discovery == mesh.EDS {
		out.edsSource(&p, f)
	} else {
		inlineEndpoints(&p, c, f)
		if c.Name == r.localCluster && c.Discovery != mesh.LogicalDNS { // Envoy does not look there
			onePriority(p.GetLoadAssignment(), "load_assignment", f)
		}
		if c.Discovery == mesh.Static && c.Outlier != nil && c.Endpoints != nil {
			distinct(c.Endpoints, "outlier_detection", f)
		}
		if c.Discovery == mesh.Static && c.Check != nil && c.Endpoints != nil {
			distinct(c.Endpoints, "health_checks", f)
		}
	}
	f.bury()
	return out, f
}

func discovery(p *clusterv3.Cluster, f *findings) mesh.Discovery {
	switch p.GetType() {
	case clusterv3.Cluster_STATIC:
		return mesh.Static
	case clusterv3.Cluster_STRICT_DNS:
		return mesh.StrictDNS
	case clusterv3.Cluster_LOGICAL_DNS:
		return mesh.LogicalDNS
	case clusterv3.Cluster_EDS:
		return mesh.EDS
	}
	f.refused("type", "%s is not supported: leno accepts STATIC, STRICT_DNS, LOGICAL_DNS and EDS", p.GetType())
	return mesh.Static
}

func (out *clusterResource) edsSource(p *clusterv3.Cluster, f *findings) {
	e := p.GetEdsClusterConfig()
	if e == nil {
		f.invalid("eds_cluster_config", "a cluster of type EDS needs one, with eds_config")
		return
	}
	if p.GetLoadAssignment() != nil {
		f.refused("load_assignment", "has no meaning for a cluster of type EDS: the endpoints come from eds_config")
	}
	out.edsPath = "eds_cluster_config.eds_config"
	if e.GetEdsConfig() == nil {
		f.invalid(out.edsPath, "is missing: it names the file with the endpoints")
		return
	}
	out.eds = configSource(e.GetEdsConfig(), out.edsPath, f)
	if out.serviceName = e.GetServiceName(); out.serviceName == "" {
		out.serviceName = p.GetName()
	}
}

// breakers are the thresholds of one priority; nil: there are none. Of two for the same priority Envoy takes the first.
func breakers(p *clusterv3.CircuitBreakers, of corev3.RoutingPriority) *mesh.Breakers {
	b := clusterBreakers(p, of)
	for _, t := range p.GetPerHostThresholds() {
		if t.GetPriority() != of {
			continue
		}
		if b == nil {
			plain := mesh.DefaultBreakers
			b = &plain
		}
		if t.GetMaxConnections() != nil {
			n := t.GetMaxConnections().GetValue()
			b.PerHost = &n
		}
		break
	}
	return b
}

func clusterBreakers(p *clusterv3.CircuitBreakers, of corev3.RoutingPriority) *mesh.Breakers {
	for _, t := range p.GetThresholds() {
		if t.GetPriority() != of {
			continue
		}
		b := mesh.DefaultBreakers
		b.MaxConnections = uint32Or(t.GetMaxConnections(), b.MaxConnections)
		b.MaxPendingRequests = uint32Or(t.GetMaxPendingRequests(), b.MaxPendingRequests)
		b.MaxRequests = uint32Or(t.GetMaxRequests(), b.MaxRequests)
		b.MaxRetries = uint32Or(t.GetMaxRetries(), b.MaxRetries)
		b.MaxConnectionsSet = t.GetMaxConnections() != nil
		b.TrackRemaining = t.GetTrackRemaining()
		if r := t.GetRetryBudget(); r != nil {
			b.Budget = &mesh.RetryBudget{Percent: 20, MinConcurrency: uint32Or(r.GetMinRetryConcurrency(), 3)}
			if r.GetBudgetPercent() != nil {
				b.Budget.Percent = r.GetBudgetPercent().GetValue()
			}
		}
		return &b
	}
	return nil
}

var families = map[clusterv3.Cluster_DnsLookupFamily]mesh.DNSFamily{
	clusterv3.Cluster_AUTO:         mesh.DNSAuto,
	clusterv3.Cluster_V4_ONLY:      mesh.DNSV4Only,
	clusterv3.Cluster_V6_ONLY:      mesh.DNSV6Only,
	clusterv3.Cluster_V4_PREFERRED: mesh.DNSV4Preferred,
	clusterv3.Cluster_ALL:          mesh.DNSAll,
}

//nolint:staticcheck // the deprecated forms are still in many files
func dns(p *clusterv3.Cluster, f *findings) mesh.DNS {
	fail := p.GetDnsFailureRefreshRate()
	d := mesh.DNS{
		RefreshRate: duration(p.GetDnsRefreshRate(), 5*time.Second, "dns_refresh_rate", f),
		RespectTTL:  p.GetRespectDnsTtl(),
		Family:      families[p.GetDnsLookupFamily()],
		FailureBase: duration(fail.GetBaseInterval(), 0, "dns_failure_refresh_rate.base_interval", f),
	}
	if fail != nil {
		d.FailureMax = duration(fail.GetMaxInterval(), 10*d.FailureBase, "dns_failure_refresh_rate.max_interval", f)
		if d.FailureMax < d.FailureBase {
			f.invalid("dns_failure_refresh_rate.max_interval", "must not be below base_interval")
		}
	}
	resolvers, path := p.GetDnsResolvers(), "dns_resolvers"
	if c := p.GetDnsResolutionConfig(); c != nil {
		resolvers, path = c.GetResolvers(), "dns_resolution_config.resolvers"
	}
	if t := p.GetTypedDnsResolverConfig().GetTypedConfig(); t != nil {
		if c, err := as[*caresv3.CaresDnsResolverConfig](t); err == nil {
			resolvers, path = c.GetResolvers(), "typed_dns_resolver_config.typed_config.resolvers"
		}
	}
	for i, a := range resolvers {
		if ap, ok := resolver(a, at(path, i), f); ok {
			d.Resolvers = append(d.Resolvers, ap)
		}
	}
	return d
}

func resolver(a *corev3.Address, path string, f *findings) (netip.AddrPort, bool) {
	sa := a.GetSocketAddress()
	if sa == nil {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(sa.GetAddress())
	if err != nil {
		f.invalid(join(path, "socket_address.address"), "must be an IP address, not %q", sa.GetAddress())
		return netip.AddrPort{}, false
	}
	port := sa.GetPortValue()
	if port == 0 {
		port = 53
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), true
}

// upstreamHTTP reads how HTTP is spoken to the cluster.
//
//nolint:staticcheck // the deprecated forms are still in many files
func upstreamHTTP(p *clusterv3.Cluster, c *mesh.Cluster, f *findings) {
	if o := p.GetCommonHttpProtocolOptions(); o != nil {
		commonHTTP(o, c, "common_http_protocol_options", f)
	}
	const name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	for key, a := range p.GetTypedExtensionProtocolOptions() {
		path := `typed_extension_protocol_options["` + key + `"]`
		o, err := as[*httpoptsv3.HttpProtocolOptions](a)
		switch {
		case key != name:
			f.refused(path, "is not supported: leno accepts %s", name)
			continue
		case err != nil:
			continue // refused by the table
		}
		commonHTTP(o.GetCommonHttpProtocolOptions(), c, join(path, "common_http_protocol_options"), f)
		c.MaxRequestsPerConnection = uint32Or(o.GetCommonHttpProtocolOptions().GetMaxRequestsPerConnection(), c.MaxRequestsPerConnection)
		c.ErrorMatcher = errorMatcher(o.GetOutlierDetection().GetErrorMatcher(), join(path, "outlier_detection.error_matcher"), f)
	}
}

// commonHTTP reads what holds for connections to upstreams.
func commonHTTP(o *corev3.HttpProtocolOptions, c *mesh.Cluster, path string, f *findings) {
	c.IdleTimeout = duration(o.GetIdleTimeout(), time.Hour, join(path, "idle_timeout"), f)
	c.MaxConnectionDuration = duration(o.GetMaxConnectionDuration(), 0, join(path, "max_connection_duration"), f)
	c.MaxResponseHeadersCount = uint32Or(o.GetMaxHeadersCount(), 0)
	c.MaxResponseHeadersKiB = uint32Or(o.GetMaxResponseHeadersKb(), 0)
}
