// SPDX-License-Identifier: Apache-2.0

package mesh

// Mirror sends copies of requests to another cluster, whose answers nobody sees (Envoy: RouteAction.RequestMirrorPolicy).
type Mirror struct {
	// Cluster, or else the first value of the field Header (in lower case), names where copies go. Exactly one is set. Where
	// there is no such cluster, no copy is made.
	Cluster string
	Header  string
	// Fraction of requests that are copied; nil: all.
	Fraction *Fraction
	// Mutations change the copy's fields first.
	Mutations []Mutation
	// HostRewriteLiteral is the copy's authority. Where it is empty, "-shadow" is appended to the name, unless KeepHost.
	HostRewriteLiteral string
	KeepHost           bool
}
