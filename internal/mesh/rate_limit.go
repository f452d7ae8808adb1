// SPDX-License-Identifier: Apache-2.0

package mesh

import "time"

// LocalRateLimit bounds how many requests pass in a time (Envoy: extensions.filters.http.local_ratelimit.v3, for the filter and for
// routes). Its bucket lives as long as this value is in force.
type LocalRateLimit struct {
	StatPrefix string
	Bucket     *TokenBucket // nil: requests are not bounded
	// Descriptors have buckets of their own; AlwaysOwn (default true): Bucket counts their requests, too.
	Descriptors []DescriptorBucket
	AlwaysOwn   bool
	// Stage and VHRateLimits say which rules of routes and virtual hosts make descriptors.
	Stage        uint32
	VHRateLimits VHRateLimits
	// PerConnection: each downstream connection has buckets of its own, made by the first of such values that it meets.
	PerConnection bool
	// Enabled is the share of requests that is counted, Enforced that of the bounded ones that is answered. Default: none.
	Enabled, Enforced Fraction
	// Status of the answer, at least 400; default 429. ResourceExhausted: gRPC's status is that instead of unavailable.
	Status            int
	ResourceExhausted bool
	ResponseHeaders   HeaderOps // of the answer
	RequestHeaders    HeaderOps // of bounded requests that pass
	// RateLimitHeaders adds x-ratelimit-limit, -remaining and -reset to answers, RetryAfter retry-after to those of 429.
	RateLimitHeaders, RetryAfter bool
}

func (*LocalRateLimit) filterConfig() {}

// TokenBucket gets PerFill tokens in each Interval, evenly, and holds at most Max.
type TokenBucket struct {
	Max, PerFill uint32
	Interval     time.Duration
}
