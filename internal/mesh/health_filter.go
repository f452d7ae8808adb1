// SPDX-License-Identifier: Apache-2.0

package mesh

// HealthCheckFilter answers requests that ask whether this data plane is well (Envoy: extensions.filters.http.health_check.v3).
type HealthCheckFilter struct {
	// PassThrough: they go on to the upstream, and are only left out of the statistics.
	PassThrough bool
	// Headers say which requests those are: all must match.
	Headers []HeaderMatch
	// MinHealthy are the clusters, ordered by name, whose hosts must be healthy for an answer of 200.
	MinHealthy []MinHealthy
}

func (*HealthCheckFilter) filterConfig() {}

// MinHealthy is the share of a cluster's hosts, in whole percent, that must be healthy or degraded.
type MinHealthy struct {
	Cluster string
	Percent uint64
}
