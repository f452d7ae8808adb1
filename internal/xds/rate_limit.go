// SPDX-License-Identifier: Apache-2.0

package xds

import (
	limitcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// localRateLimit reads the settings of the filter, or what a route puts in their place.
func localRateLimit(p *limitv3.LocalRateLimit, route bool, path string, f *findings) *mesh.LocalRateLimit {
	out := &mesh.LocalRateLimit{
		StatPrefix: p.GetStatPrefix(), PerConnection: p.GetLocalRateLimitPerDownstreamConnection(),
		Enabled: mesh.Fraction{Denominator: 100}, Enforced: mesh.Fraction{Denominator: 100},
		ResourceExhausted: p.GetRateLimitedAsResourceExhausted(), RetryAfter: p.GetEnableRetryAfterHeader(),
		RateLimitHeaders: p.GetEnableXRatelimitHeaders() == limitcommonv3.XRateLimitHeadersRFCVersion_DRAFT_VERSION_03,
		Descriptors:      descriptorBuckets(p.GetDescriptors(), join(path, "descriptors"), f),
		AlwaysOwn:        boolOr(p.GetAlwaysConsumeDefaultTokenBucket(), true),
		Stage:            p.GetStage(), VHRateLimits: vhRateLimits[p.GetVhRateLimits()],
		ResponseHeaders: headerOps(p.GetResponseHeadersToAdd(), nil, join(path, "response_headers_to_add"), "", f),
		RequestHeaders: headerOps(p.GetRequestHeadersToAddWhenNotEnforced(), nil,
			join(path, "request_headers_to_add_when_not_enforced"), "", f),
	}
	noCommands(out.ResponseHeaders.Add, join(path, "response_headers_to_add"), f)
	noCommands(out.RequestHeaders.Add, join(path, "request_headers_to_add_when_not_enforced"), f)
	if e := fractionIf(p.GetFilterEnabled()); e != nil {
		out.Enabled = *e
	}
	if e := fractionIf(p.GetFilterEnforced()); e != nil {
		out.Enforced = *e
	}
	if out.Status = int(p.GetStatus().GetCode()); out.Status < 400 {
		out.Status = 429
	}
	out.Bucket = tokenBucket(p.GetTokenBucket(), join(path, "token_bucket"), f)
	if p.GetTokenBucket() == nil && route {
		f.invalid(join(path, "token_bucket"), "is missing")
	}
	return out
}

var vhRateLimits = map[limitcommonv3.VhRateLimitsOptions]mesh.VHRateLimits{
	limitcommonv3.VhRateLimitsOptions_OVERRIDE: mesh.OverrideVHRateLimits,
	limitcommonv3.VhRateLimitsOptions_INCLUDE:  mesh.IncludeVHRateLimits,
	limitcommonv3.VhRateLimitsOptions_IGNORE:   mesh.IgnoreVHRateLimits,
}
