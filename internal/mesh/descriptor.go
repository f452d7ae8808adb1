// SPDX-License-Identifier: Apache-2.0

package mesh

// RateLimitRule makes a descriptor of a request: one entry by each action, or none at all if one of them cannot
// (Envoy: config.route.v3.RateLimit).
type RateLimitRule struct {
	Stage   uint32 // of the filter that looks at it
	Actions []RateLimitAction
}

// RateLimitSource says what the value of an entry is.
type RateLimitSource int

const (
	FixedValue              RateLimitSource = iota // Value
	OwnCluster                                     // the node's
	DestinationCluster                             // the route's
	RemoteAddress                                  // the client's
	RequestHeader                                  // the first one of Header
	ValueIfHeadersMatch                            // Value, if Headers match
	ValueUnlessHeadersMatch                        // Value, if not all of Headers match
)

// RateLimitAction makes one entry.
type RateLimitAction struct {
	Source     RateLimitSource
	Key, Value string
	Header     string // lower case
	// SkipIfAbsent: without Header there is no entry, but the others make the descriptor.
	SkipIfAbsent bool
	Headers      []HeaderMatch
}

// Descriptor is a list of entries.
type Descriptor []DescriptorEntry

// DescriptorEntry is one of them.
type DescriptorEntry struct{ Key, Value string }

// DescriptorBucket is the bucket of requests with a descriptor.
type DescriptorBucket struct {
	Descriptor Descriptor
	Bucket     TokenBucket
}

// VHRateLimits says when a virtual host's rules are looked at.
type VHRateLimits int

const (
	OverrideVHRateLimits VHRateLimits = iota // where the route has none
	IncludeVHRateLimits                      // always
	IgnoreVHRateLimits                       // never
)
