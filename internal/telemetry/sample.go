// SPDX-License-Identifier: Apache-2.0

// Package telemetry is what leno says about traffic: the samples that every
// tier contributes at scrape time, and their renderings in Envoy's shapes.
//
// It holds no counters of its own: each tier keeps its words where it counts
// and hands them out when somebody asks (Source). It is not for logging and
// not for the state of the agent itself (that is status).
package telemetry

// Kind of a sample.
type Kind int

const (
	Counter Kind = iota // only grows while the process and its pinned maps live
	Gauge
	Histogram
)

// Label is one dimension of a sample. Key is Envoy's tag name, such as "envoy.cluster_name".
type Label struct{ Key, Value string }

// Sample is one value, read when it was asked for. Samples of the same Name and Labels from several
// sources are added up: two tiers that serve one cluster make one number.
type Sample struct {
	// Name is Envoy's flat statistic name, such as "cluster.blue.upstream_cx_total". What only the kernel
	// knows begins with "leno.".
	Name string
	// Base is Name without the label values, such as "cluster.upstream_cx_total": the Prometheus name is
	// "envoy_" + Base with dots as underscores, or Base alone when it begins with "leno.".
	Base   string
	Labels []Label
	Kind   Kind
	Value  uint64 // counters and gauges
	Hist   *Hist  // histograms
}

// Hist is a histogram with upper bounds in ascending order; Counts has one more member than Bounds.
type Hist struct {
	Bounds []float64 // inclusive upper bounds, in the statistic's unit
	Counts []uint64  // not cumulative
	Sum    float64
}

// Source contributes samples. Collect is called from any goroutine and must not block on traffic.
type Source interface {
	Collect(emit func(Sample))
}
