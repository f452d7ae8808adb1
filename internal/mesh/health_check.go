// SPDX-License-Identifier: Apache-2.0

package mesh

import "time"

// HealthCheck is how and how often the hosts of a cluster are tried (Envoy: config.core.v3.HealthCheck). Either HTTP or TCP is set.
type HealthCheck struct {
	// Name goes into the names of statistics; empty: none.
	Name    string
	Timeout time.Duration // of one try, over 0
	// Interval between tries of a host, once the cluster has had traffic; the edge intervals come after a try that is one of those
	// that a threshold asks for.
	Interval, UnhealthyInterval, UnhealthyEdgeInterval, HealthyEdgeInterval time.Duration
	// NoTrafficInterval holds until then; NoTrafficHealthyInterval for hosts that are healthy.
	NoTrafficInterval, NoTrafficHealthyInterval time.Duration
	// InitialJitter is the longest wait before the first try. IntervalJitter is the most that is added to each interval, and so is
	// IntervalJitterPercent of it.
	InitialJitter, IntervalJitter time.Duration
	IntervalJitterPercent         uint32
	// UnhealthyThreshold and HealthyThreshold are how many tries in a row change a host.
	UnhealthyThreshold, HealthyThreshold uint32
	// ReuseConnection: the next try goes over the same connection; default true.
	ReuseConnection bool

	HTTP *HTTPCheck
	TCP  *TCPCheck
}

// HTTPCheck is a request and what is a good answer to it.
type HTTPCheck struct {
	Method, Path string
	Host         string // empty: the cluster's name
	Body         []byte // nil: none
	Headers      HeaderOps
	Receive      [][]byte // texts that the body must hold, in this order
	// BufferSize is how much of the body they are looked for in, in bytes; 0: all. Default 1024.
	BufferSize uint64
	Expected   []Range // of statuses; never empty
	// Retriable statuses count as one failure; others that are not expected are one too many at once.
	Retriable []Range
	// ServiceName compares the server's x-envoy-upstream-healthchecked-cluster; nil: it is not asked for.
	ServiceName *StringMatch
}

// TCPCheck is bytes to send and to wait for.
type TCPCheck struct {
	Send []byte
	// Receive are texts that must come, in this order; none: the connection is enough.
	Receive [][]byte
}
