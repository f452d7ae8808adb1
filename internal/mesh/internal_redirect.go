// SPDX-License-Identifier: Apache-2.0

package mesh

// InternalRedirect lets redirects of upstreams be followed in the place of the client (Envoy: config.route.v3.InternalRedirectPolicy).
type InternalRedirect struct {
	// Max is how many redirects a request may have followed before, over all routes, and still follow one; default 1.
	Max uint32
	// Codes are the statuses that are followed; default 302.
	Codes []int
	// CrossScheme: also from http to https.
	CrossScheme bool
	// Copy are the fields, in lower case, that the next request takes from the redirect; what that lacks is removed.
	Copy []string
	// Predicates must all accept the route that the redirect leads to.
	Predicates []RedirectPredicate
}

// RedirectPredicateKind says what a predicate looks at.
type RedirectPredicateKind int

const (
	PreviousRoutes    RedirectPredicateKind = iota // no route twice, seen from one route
	AllowListedRoutes                              // only to Routes
	SafeCrossScheme                                // never from http to https
)

// RedirectPredicate is one condition.
type RedirectPredicate struct {
	Kind   RedirectPredicateKind
	Routes []string // names
}
