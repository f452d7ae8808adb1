// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// retry reads a policy; nil: there is none.
func retry(p *routev3.RetryPolicy, path string, f *findings) *mesh.RetryPolicy {
	if p == nil {
		return nil
	}
	in := func(field string) string { return join(path, field) }
	r := &mesh.RetryPolicy{
		On:                mesh.ParseRetryOn(p.GetRetryOn()),
		NumRetries:        uint32Or(p.GetNumRetries(), 1),
		PerTryTimeout:     duration(p.GetPerTryTimeout(), 0, in("per_try_timeout"), f),
		PerTryIdleTimeout: duration(p.GetPerTryIdleTimeout(), 0, in("per_try_idle_timeout"), f),
		StatusCodes:       p.GetRetriableStatusCodes(),
		Headers:           headerMatches(p.GetRetriableHeaders(), in("retriable_headers"), f),
		RequestHeaders:    headerMatches(p.GetRetriableRequestHeaders(), in("retriable_request_headers"), f),
		HostAttempts:      1,
		BackOffBase:       25 * time.Millisecond,
	}
	if n := p.GetHostSelectionRetryMaxAttempts(); n > 0 {
		r.HostAttempts = uint32(min(n, 1<<20))
	}
	retryBackOff(p.GetRetryBackOff(), r, in("retry_back_off"), f)
	r.RateLimited = rateLimitedBackOff(p.GetRateLimitedRetryBackOff(), in("rate_limited_retry_back_off"), f)
	for i, h := range p.GetRetryHostPredicate() {
		r.PreviousHosts = true // another type is refused by the table
		if h.GetTypedConfig() == nil {
			f.invalid(join(at(in("retry_host_predicate"), i), "typed_config"), "is missing: leno accepts previous_hosts")
		}
	}
	return r
}

func headerMatches(list []*routev3.HeaderMatcher, path string, f *findings) []mesh.HeaderMatch {
	var all []mesh.HeaderMatch
	for i, h := range list {
		if m, ok := headerMatch(h, at(path, i), f); ok {
			all = append(all, m)
		}
	}
	return all
}

func retryBackOff(p *routev3.RetryPolicy_RetryBackOff, r *mesh.RetryPolicy, path string, f *findings) {
	if p != nil {
		// Envoy waits in whole milliseconds, one at least.
		r.BackOffBase = max(duration(p.GetBaseInterval(), r.BackOffBase, join(path, "base_interval"), f), time.Millisecond)
	}
	r.BackOffMax = 10 * r.BackOffBase
	if p.GetMaxInterval() == nil {
		return
	}
	r.BackOffMax = max(duration(p.GetMaxInterval(), r.BackOffMax, join(path, "max_interval"), f), time.Millisecond)
	if r.BackOffMax < r.BackOffBase {
		f.invalid(join(path, "max_interval"), "must not be below base_interval")
	}
}

func rateLimitedBackOff(p *routev3.RetryPolicy_RateLimitedRetryBackOff, path string, f *findings) *mesh.RateLimitedBackOff {
	if p == nil {
		return nil
	}
	b := &mesh.RateLimitedBackOff{Max: duration(p.GetMaxInterval(), 300*time.Second, join(path, "max_interval"), f)}
	for _, h := range p.GetResetHeaders() {
		b.Headers = append(b.Headers, mesh.ResetHeader{Name: strings.ToLower(h.GetName()),
			Unix: h.GetFormat() == routev3.RetryPolicy_UNIX_TIMESTAMP})
	}
	return b
}
