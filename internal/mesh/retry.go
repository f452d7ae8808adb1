// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"strings"
	"time"
)

// RetryOn is a set of conditions that a request is tried again for (Envoy: x-envoy-retry-on and x-envoy-retry-grpc-on).
type RetryOn uint32

const (
	Retry5xx RetryOn = 1 << iota
	RetryGatewayError
	RetryReset
	RetryResetBeforeRequest
	RetryConnectFailure
	RetryEnvoyRateLimited
	RetryRetriable4xx
	RetryRefusedStream
	RetryRetriableStatusCodes
	RetryRetriableHeaders
	RetryGRPCCancelled
	RetryGRPCDeadlineExceeded
	RetryGRPCInternal
	RetryGRPCResourceExhausted
	RetryGRPCUnavailable
)

// RetryPolicy is Envoy's config.route.v3.RetryPolicy.
type RetryPolicy struct {
	On         RetryOn
	NumRetries uint32 // default 1
	// PerTryTimeout bounds one attempt, from the end of the request; PerTryIdleTimeout how long its upstream may be silent. 0: none.
	PerTryTimeout     time.Duration
	PerTryIdleTimeout time.Duration
	// StatusCodes, and Headers of the response of which one must match, for the conditions of those names.
	StatusCodes []uint32
	Headers     []HeaderMatch
	// RequestHeaders: if there are any, only requests that one of them matches are tried again.
	RequestHeaders []HeaderMatch
	// PreviousHosts: an attempt avoids hosts that were tried, choosing up to HostAttempts times more.
	PreviousHosts bool
	HostAttempts  uint32 // default 1
	// BackOffBase (default 25 ms) doubles with each attempt up to BackOffMax (default 10 times the base); the wait is random below it.
	BackOffBase, BackOffMax time.Duration
	// RateLimited takes the wait from the response; nil: never.
	RateLimited *RateLimitedBackOff
}

// RateLimitedBackOff is Envoy's RetryPolicy.RateLimitedRetryBackOff: the first of the headers that is there and holds a time of at
// most Max sets the wait.
type RateLimitedBackOff struct {
	Headers []ResetHeader
	Max     time.Duration // default 5 min
}

// ResetHeader is one header that says when a limit is over: in seconds, or as a Unix time.
type ResetHeader struct {
	Name string // lower case
	Unix bool
}

// RetryBudget is Envoy's CircuitBreakers.Thresholds.RetryBudget: retries may be Percent of what is in flight, but MinConcurrency
// at least.
type RetryBudget struct {
	Percent        float64 // default 20
	MinConcurrency uint32  // default 3
}

var retryWords = map[string]RetryOn{
	"5xx": Retry5xx, "gateway-error": RetryGatewayError, "reset": RetryReset, "reset-before-request": RetryResetBeforeRequest,
	"connect-failure": RetryConnectFailure, "envoy-ratelimited": RetryEnvoyRateLimited, "retriable-4xx": RetryRetriable4xx,
	"refused-stream": RetryRefusedStream, "retriable-status-codes": RetryRetriableStatusCodes,
	"retriable-headers": RetryRetriableHeaders, "cancelled": RetryGRPCCancelled, "deadline-exceeded": RetryGRPCDeadlineExceeded,
	"internal": RetryGRPCInternal, "resource-exhausted": RetryGRPCResourceExhausted, "unavailable": RetryGRPCUnavailable,
}

// ParseRetryOn reads a list of conditions; words that Envoy does not know mean nothing, as with it.
func ParseRetryOn(list string) RetryOn {
	var on RetryOn
	for word := range strings.SplitSeq(list, ",") {
		on |= retryWords[strings.TrimSpace(word)]
	}
	return on
}
