// SPDX-License-Identifier: Apache-2.0

package mesh

import "time"

// Fault delays and aborts requests (Envoy: extensions.filters.http.fault.v3.HTTPFault).
type Fault struct {
	Delay *FaultDelay // nil: none
	Abort *FaultAbort // nil: none
	// UpstreamCluster: only requests that are routed there; empty: all.
	UpstreamCluster string
	// Headers must all match.
	Headers []HeaderMatch
	// DownstreamNodes: only requests whose x-envoy-downstream-service-node is one of these; nil: all.
	DownstreamNodes []string
	// MaxActive bounds how many requests of this filter's statistics have a fault at once; nil: it is not bounded.
	MaxActive *uint32
	// NoClusterStats: nothing is counted by x-envoy-downstream-service-cluster.
	NoClusterStats bool
}

func (*Fault) filterConfig() {}

// FaultDelay holds requests.
type FaultDelay struct {
	// Fixed is how long; 0: the request says so by x-envoy-fault-delay-request, in milliseconds, and may lower the share.
	Fixed      time.Duration
	Percentage Fraction
}

// FaultAbort answers requests.
type FaultAbort struct {
	// At most one of HTTPStatus and GRPCStatus; neither: the request says so by x-envoy-fault-abort-request or
	// x-envoy-fault-abort-grpc-request, and may lower the share.
	HTTPStatus int
	Body       string
	GRPCStatus *uint32
	Percentage Fraction
}
