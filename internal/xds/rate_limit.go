// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"time"

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
		ResponseHeaders:  headerOps(p.GetResponseHeadersToAdd(), nil, join(path, "response_headers_to_add"), "", f),
		RequestHeaders: headerOps(p.GetRequestHeadersToAddWhenNotEnforced(), nil,
			join(path, "request_headers_to_add_when_not_enforced"), "", f),
	}
	if e := fractionIf(p.GetFilterEnabled()); e != nil {
		out.Enabled = *e
	}
	if e := fractionIf(p.GetFilterEnforced()); e != nil {
		out.Enforced = *e
	}
	if out.Status = int(p.GetStatus().GetCode()); out.Status < 400 {
		out.Status = 429
	}
	b := p.GetTokenBucket()
	switch interval := duration(b.GetFillInterval(), 0, join(path, "token_bucket.fill_interval"), f); {
	case b == nil && route:
		f.invalid(join(path, "token_bucket"), "is missing")
	case b == nil:
	case interval < 50*time.Millisecond:
		f.invalid(join(path, "token_bucket.fill_interval"), "must be at least 50ms")
	default:
		out.Bucket = &mesh.TokenBucket{Max: b.GetMaxTokens(), PerFill: uint32Or(b.GetTokensPerFill(), 1), Interval: interval}
	}
	return out
}
