// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"cmp"
	"math"
	"net/http"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/leno-mesh/leno/internal/mesh"
)

// routeResource is one decoded route configuration. Immutable.
type routeResource struct {
	config *mesh.RouteConfig
	refs   []clusterRef
}

// routes reads a route configuration that stands by itself (RDS).
func (r *reader) routes(n *yaml.Node) (*routeResource, *findings) {
	var p routev3.RouteConfiguration
	f := r.read(n, &p, "route_config")
	out := routeConfig(&p, "", f)
	if !boolOr(p.GetValidateClusters(), false) {
		out.refs = nil
	}
	f.bury()
	return out, f
}

// routeReader holds what all routes of a configuration share.
type routeReader struct {
	f       *findings
	out     *routeResource
	maxBody uint32
	retry   *mesh.RetryPolicy // of the virtual host that is being read
	mirrors []mesh.Mirror     // of that virtual host, or else of the route configuration
	buffer  buffering         // of that virtual host
}

// defaultMaxBody is Envoy's bound for bodies of direct responses, in bytes.
const defaultMaxBody = 4096

// priorities are the two that Envoy has; DEFAULT is absent.
var priorities = map[corev3.RoutingPriority]mesh.Priority{corev3.RoutingPriority_HIGH: mesh.PriorityHigh}

// defaultBufferLimit is how much of a request Envoy's listeners keep, in bytes.
const defaultBufferLimit = 1 << 20

var tlsRequirements = map[routev3.VirtualHost_TlsRequirementType]mesh.TLSRequirement{
	routev3.VirtualHost_EXTERNAL_ONLY: mesh.ExternalTLS, routev3.VirtualHost_ALL: mesh.AllTLS}

// buffering is what one level says of how much of a body is kept; now takes the place of old.
type buffering struct {
	old *wrapperspb.UInt32Value
	now *wrapperspb.UInt64Value
}

//nolint:staticcheck // one is deprecated, and still in files
func bufferingOf(p interface {
	GetPerRequestBufferLimitBytes() *wrapperspb.UInt32Value
	GetRequestBodyBufferLimit() *wrapperspb.UInt64Value
}) buffering {
	return buffering{p.GetPerRequestBufferLimitBytes(), p.GetRequestBodyBufferLimit()}
}

// bufferLimit is what counts for a route: the new field of either level comes before the old one, and its greatest value means
// that it is not set.
func bufferLimit(route, host buffering) uint64 {
	switch now := cmp.Or(route.now, host.now); {
	case now.GetValue() == math.MaxUint64:
		return defaultBufferLimit
	case now != nil:
		return min(now.GetValue(), math.MaxInt64)
	}
	if old := cmp.Or(route.old, host.old); old != nil {
		return uint64(old.GetValue())
	}
	return defaultBufferLimit
}

func routeConfig(p *routev3.RouteConfiguration, path string, f *findings) *routeResource {
	rc := &mesh.RouteConfig{
		Name:                            p.GetName(),
		RequestHeaders:                  requestHeaders(p, path, f),
		ResponseHeaders:                 responseHeaders(p, path, f),
		MostSpecificHeaderMutationsWins: p.GetMostSpecificHeaderMutationsWins(),

		IgnorePortInHostMatching:           p.GetIgnorePortInHostMatching(),
		VHostHeader:                        strings.ToLower(p.GetVhostHeader()),
		IgnorePathParametersInPathMatching: p.GetIgnorePathParametersInPathMatching(),
		Filters:                            filterOverrides(p.GetTypedPerFilterConfig(), join(path, "typed_per_filter_config"), f),
	}
	rr := &routeReader{f: f, out: &routeResource{config: rc},
		maxBody: uint32Or(p.GetMaxDirectResponseBodySizeBytes(), defaultMaxBody)}
	f.unit(path, func(reason string) {
		rc.VirtualHosts = []*mesh.VirtualHost{{Name: "refused", Domains: []string{"*"}, Routes: tombstoneRoutes(reason)}}
	})
	domains := map[string]bool{}
	mirrors := rr.mirror(p.GetRequestMirrorPolicies(), join(path, "request_mirror_policies"), nil)
	for i, vh := range p.GetVirtualHosts() {
		sub := at(join(path, "virtual_hosts"), i)
		rr.mirrors = rr.mirror(vh.GetRequestMirrorPolicies(), join(sub, "request_mirror_policies"), mirrors)
		rr.domains(vh, sub, domains)
		rc.VirtualHosts = append(rc.VirtualHosts, rr.virtualHost(vh, sub))
	}
	return rr.out
}

// domains checks that each domain belongs to one virtual host.
func (rr *routeReader) domains(vh *routev3.VirtualHost, path string, seen map[string]bool) {
	for j, d := range vh.GetDomains() {
		sub := at(join(path, "domains"), j)
		key := strings.ToLower(d)
		switch {
		case seen[key] && key == "*":
			rr.f.invalid(sub, "only one virtual host may have the domain *")
		case seen[key]:
			rr.f.invalid(sub, "%q belongs to two virtual hosts, or to one twice", d)
		case len(d) > 1 && strings.Contains(strings.Trim(d, "*"), "*"),
			len(d) > 1 && d[0] == '*' && d[len(d)-1] == '*':
			// Envoy takes such a name as it stands; no authority is ever equal to it.
			rr.f.refused(sub, "%q has more than one *, or one in the middle; leno accepts *.x, x.* and *", d)
		}
		seen[key] = true
	}
}

func tombstoneRoutes(reason string) []*mesh.Route {
	return []*mesh.Route{{Match: mesh.RouteMatch{CaseSensitive: true}, Tombstone: reason}}
}

func (rr *routeReader) virtualHost(p *routev3.VirtualHost, path string) *mesh.VirtualHost {
	vh := &mesh.VirtualHost{
		Name:            p.GetName(),
		RequestHeaders:  requestHeaders(p, path, rr.f),
		ResponseHeaders: responseHeaders(p, path, rr.f),

		AttemptCountRequest:  p.GetIncludeRequestAttemptCount(),
		AttemptCountResponse: p.GetIncludeAttemptCountInResponse(),
		IsTimeoutRetry:       p.GetIncludeIsTimeoutRetryHeader(),
		RequireTLS:           tlsRequirements[p.GetRequireTls()],
		RateLimits:           rateLimits(p.GetRateLimits(), join(path, "rate_limits"), rr.f),
		CORS:                 oldCORS(p.GetCors(), join(path, "cors"), rr.f), //nolint:staticcheck // likewise
		Filters:              filterOverrides(p.GetTypedPerFilterConfig(), join(path, "typed_per_filter_config"), rr.f),
	}
	rr.retry = retry(p.GetRetryPolicy(), join(path, "retry_policy"), rr.f)
	rr.buffer = bufferingOf(p)
	for _, d := range p.GetDomains() {
		vh.Domains = append(vh.Domains, strings.ToLower(d))
	}
	rr.f.unit(path, func(reason string) { vh.Routes = tombstoneRoutes(reason) })
	for i, r := range p.GetRoutes() {
		vh.Routes = append(vh.Routes, rr.route(r, at(join(path, "routes"), i)))
	}
	return vh
}

func (rr *routeReader) route(p *routev3.Route, path string) *mesh.Route {
	r := &mesh.Route{
		Name:            p.GetName(),
		Match:           routeMatch(p.GetMatch(), join(path, "match"), rr.f),
		RequestHeaders:  requestHeaders(p, path, rr.f),
		ResponseHeaders: responseHeaders(p, path, rr.f),
		Filters:         filterOverrides(p.GetTypedPerFilterConfig(), join(path, "typed_per_filter_config"), rr.f),
		Metadata:        metadata(p.GetMetadata()),
	}
	// What of a match is not supported was left out of r.Match, so a tombstone takes more requests than the
	// route would have, never fewer.
	rr.f.unit(path, func(reason string) { r.Forward, r.Direct, r.Redirect, r.Tombstone = nil, nil, nil, reason })
	switch {
	case p.GetRoute() != nil:
		r.Forward = rr.action(p.GetRoute(), join(path, "route"))
		r.Forward.BufferLimit = bufferLimit(bufferingOf(p), rr.buffer)
	case p.GetDirectResponse() != nil:
		r.Direct = rr.direct(p.GetDirectResponse(), join(path, "direct_response"))
	case p.GetRedirect() != nil:
		r.Redirect = redirect(p.GetRedirect(), join(path, "redirect"), rr.f)
	default:
		if p.GetFilterAction() == nil && p.GetNonForwardingAction() == nil && !rr.f.hasBelow(mesh.Rejected, path) {
			rr.f.invalid(path, "one of route, redirect, direct_response is required")
		}
		r.Tombstone = "the action is not supported"
	}
	return r
}

var notFoundCodes = map[routev3.RouteAction_ClusterNotFoundResponseCode]int{
	routev3.RouteAction_SERVICE_UNAVAILABLE:   http.StatusServiceUnavailable,
	routev3.RouteAction_NOT_FOUND:             http.StatusNotFound,
	routev3.RouteAction_INTERNAL_SERVER_ERROR: http.StatusInternalServerError,
}

func (rr *routeReader) action(p *routev3.RouteAction, path string) *mesh.RouteAction {
	a := &mesh.RouteAction{
		Timeout:              duration(p.GetTimeout(), 15*time.Second, join(path, "timeout"), rr.f),
		PrefixRewrite:        p.GetPrefixRewrite(),
		RegexRewrite:         regexRewrite(p.GetRegexRewrite(), join(path, "regex_rewrite"), rr.f),
		HostRewriteLiteral:   p.GetHostRewriteLiteral(),
		HostRewriteHeader:    strings.ToLower(p.GetHostRewriteHeader()),
		HostRewritePathRegex: regexRewrite(p.GetHostRewritePathRegex(), join(path, "host_rewrite_path_regex"), rr.f),
		HashPolicy:           hashPolicies(p.GetHashPolicy(), join(path, "hash_policy"), rr.f),
		AutoHostRewrite:      p.GetAutoHostRewrite().GetValue(),
		AppendXForwardedHost: p.GetAppendXForwardedHost(),
		RateLimits:           rateLimits(p.GetRateLimits(), join(path, "rate_limits"), rr.f),
		IncludeVHRateLimits:  p.GetIncludeVhRateLimits().GetValue(),          //nolint:staticcheck // deprecated, and still in files
		CORS:                 oldCORS(p.GetCors(), join(path, "cors"), rr.f), //nolint:staticcheck // deprecated, and still in files
		Priority:             priorities[p.GetPriority()],
		Mirrors:              rr.mirror(p.GetRequestMirrorPolicies(), join(path, "request_mirror_policies"), rr.mirrors),
		InternalRedirect:     internalRedirect(p.GetInternalRedirectPolicy(), join(path, "internal_redirect_policy"), rr.f),
		ClusterNotFoundCode:  notFoundCodes[p.GetClusterNotFoundResponseCode()],
	}
	if a.PrefixRewrite != "" && p.GetRegexRewrite() != nil {
		rr.f.invalid(join(path, "regex_rewrite"), "cannot be given together with prefix_rewrite")
	}
	if a.Retry = retry(p.GetRetryPolicy(), join(path, "retry_policy"), rr.f); a.Retry == nil {
		a.Retry = rr.retry
	}
	a.IdleTimeout = durationIf(p.GetIdleTimeout(), join(path, "idle_timeout"), rr.f)
	a.MaxStreamDuration = durationIf(p.GetMaxStreamDuration().GetMaxStreamDuration(), join(path, "max_stream_duration.max_stream_duration"), rr.f)
	//nolint:staticcheck // deprecated, and what Istio sends
	a.MaxGRPCTimeout = durationIf(p.GetMaxGrpcTimeout(), join(path, "max_grpc_timeout"), rr.f)
	a.GRPCTimeoutOffset = duration(p.GetGrpcTimeoutOffset(), 0, join(path, "grpc_timeout_offset"), rr.f) //nolint:staticcheck // likewise
	if p.GetMaxStreamDuration() != nil {                                                                 // Envoy's "new timeouts" replace the old ones, whatever they say
		a.Timeout, a.MaxGRPCTimeout, a.StreamTimeouts = 0, nil, true
	}
	if c := p.GetCluster(); c != "" {
		a.Clusters = []mesh.WeightedCluster{{Name: c, Weight: 1}}
		rr.out.refs = append(rr.out.refs, clusterRef{join(path, "cluster"), c})
	}
	if h := p.GetClusterHeader(); h != "" {
		a.Clusters = []mesh.WeightedCluster{{Header: strings.ToLower(h), Weight: 1}}
	}
	if p.GetWeightedClusters() != nil {
		rr.weighted(p.GetWeightedClusters(), join(path, "weighted_clusters"), a)
	}
	return a
}

func (rr *routeReader) weighted(p *routev3.WeightedCluster, path string, a *mesh.RouteAction) {
	a.SplitHeader, a.SplitByHash = strings.ToLower(p.GetHeaderName()), p.GetUseHashPolicy().GetValue()
	var sum uint64
	for i, c := range p.GetClusters() {
		sub := at(join(path, "clusters"), i)
		switch named, header := c.GetName() != "", c.GetClusterHeader() != ""; {
		case named && header:
			rr.f.invalid(sub, "only one of name and cluster_header may be given")
		case named:
			rr.out.refs = append(rr.out.refs, clusterRef{join(sub, "name"), c.GetName()})
		case !header:
			rr.f.invalid(sub, "name or cluster_header is missing")
		}
		sum += uint64(c.GetWeight().GetValue())
		a.Clusters = append(a.Clusters, mesh.WeightedCluster{
			Name: c.GetName(), Header: strings.ToLower(c.GetClusterHeader()), Weight: c.GetWeight().GetValue(),
			HostRewriteLiteral: c.GetHostRewriteLiteral(),
			RequestHeaders:     requestHeaders(c, sub, rr.f),
			ResponseHeaders:    responseHeaders(c, sub, rr.f),
			Filters:            filterOverrides(c.GetTypedPerFilterConfig(), join(sub, "typed_per_filter_config"), rr.f),
		})
	}
	switch {
	case len(p.GetClusters()) == 0 || rr.f.hasBelow(mesh.Rejected, path):
	case sum == 0:
		rr.f.invalid(path, "the sum of the weights must be greater than 0")
	case sum > 1<<32-1:
		rr.f.invalid(path, "the sum of the weights must fit in 32 bits")
	}
}
