// SPDX-License-Identifier: Apache-2.0

package mesh

// HeaderMutation changes fields, one after the other (Envoy: extensions.filters.http.header_mutation.v3, for the filter and for
// routes).
type HeaderMutation struct {
	Request, Response []Mutation
	// MostSpecificWins turns the order of a route's levels round; only the filter's own is looked at.
	MostSpecificWins bool
}

func (*HeaderMutation) filterConfig() {}

// Mutation is one change: exactly one field is set.
type Mutation struct {
	Remove         string // lower case
	Add            *HeaderAdd
	RemoveMatching *StringMatch // every field whose name matches
}
