// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"
	"time"
)

// RBAC decides who may pass (Envoy: extensions.filters.http.rbac.v3.RBAC; a route's RBACPerRoute is one too).
type RBAC struct {
	// Rules are enforced, Shadow only counted; nil: there are none, and everybody passes.
	Rules, Shadow *RBACRules
	// RulesStatPrefix and ShadowStatPrefix stand before the counters' names, after "rbac.". A route's are not looked at.
	RulesStatPrefix, ShadowStatPrefix string
	// PerRuleStats counts each policy, too.
	PerRuleStats bool
}

func (*RBAC) filterConfig() {}

// NetworkRBAC judges connections (Envoy: extensions.filters.network.rbac.v3.RBAC).
type NetworkRBAC struct {
	// StatPrefix stands before "rbac." in the counters' names, ShadowStatPrefix after it.
	StatPrefix, ShadowStatPrefix string
	// Rules are enforced, Shadow only counted; nil: there are none, and everybody passes.
	Rules, Shadow *RBACRules
	// Delay is how long a connection that may not pass is held before it is closed.
	Delay time.Duration
}

// RBACAction is what becomes of who meets a policy.
type RBACAction int

const (
	RBACAllow RBACAction = iota // and nobody else passes
	RBACDeny                    // and everybody else passes
	RBACLog                     // everybody passes
)

// RBACRules are Envoy's config.rbac.v3.RBAC.
type RBACRules struct {
	Action   RBACAction
	Policies []RBACPolicy // ordered by name: the first that is met counts
}

// RBACPolicy is met when one of Permissions and one of Principals are.
type RBACPolicy struct {
	Name        string
	Permissions []RBACCondition
	Principals  []RBACCondition
}

// RBACKind says what a condition looks at.
type RBACKind int

const (
	RBACAny             RBACKind = iota // it is always met
	RBACNever                           // authenticated: without TLS nobody is
	RBACAnd                             // all of Of
	RBACOr                              // one of Of
	RBACNot                             // not the one of Of
	RBACHeader                          // Header
	RBACPath                            // the path without its query: Text
	RBACServerName                      // what TLS asked for, "" without: Text
	RBACSourceIP                        // the connection's peer: Range
	RBACDirectRemoteIP                  // the peer, too: Range
	RBACRemoteIP                        // the client as far as it is known: Range
	RBACDestinationIP                   // Range
	RBACDestinationPort                 // from FirstPort up to and without EndPort
	RBACMetadata                        // Metadata
)

// RBACCondition is a permission or a principal.
type RBACCondition struct {
	Kind               RBACKind
	Of                 []RBACCondition
	Header             *HeaderMatch
	Text               *StringMatch
	Range              netip.Prefix
	FirstPort, EndPort int32
	Metadata           *MetadataMatch
}
