// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/leno-mesh/leno/internal/telemetry"
)

// extras holds the counters of HTTP filters by their full names. They outlive the configuration that made them. Its methods
// make what is not there yet.
type extras struct {
	mu  sync.Mutex
	all map[string]*extra
}

type extra struct {
	sample telemetry.Sample
	value  atomic.Int64
	counter
}

// http is a counter below http.PREFIX.
func (s *extras) http(prefix, leaf string) *counter {
	return &s.of(httpSample(prefix, leaf, telemetry.Counter)).counter
}

// httpGauge is a gauge there.
func (s *extras) httpGauge(prefix, leaf string) *gauge {
	return &s.of(httpSample(prefix, leaf, telemetry.Gauge)).value
}

// rateLimit is a counter of a local rate limit.
func (s *extras) rateLimit(prefix, leaf string) *counter {
	return &s.of(telemetry.Sample{Name: prefix + ".http_local_rate_limit." + leaf, Base: "http_local_rate_limit." + leaf,
		Labels: []telemetry.Label{{Key: "envoy.local_http_ratelimit_prefix", Value: prefix}}, Kind: telemetry.Counter}).counter
}

// rbac is a counter of the network filter.
func (s *extras) rbac(prefix, leaf string) *counter {
	return &s.of(telemetry.Sample{Name: dotted(prefix) + "rbac." + leaf, Base: "rbac." + leaf,
		Labels: []telemetry.Label{{Key: "envoy.rbac_prefix", Value: prefix}}, Kind: telemetry.Counter}).counter
}

func httpSample(prefix, leaf string, k telemetry.Kind) telemetry.Sample {
	return scope{base: "http", tag: "envoy.http_conn_manager_prefix", value: prefix}.sample(leaf, k)
}

func (s *extras) of(m telemetry.Sample) *extra {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[m.Name]
	if e == nil {
		e = &extra{sample: m}
		if s.all == nil {
			s.all = map[string]*extra{}
		}
		s.all[m.Name] = e
	}
	return e
}

func (s *extras) collect(emit func(telemetry.Sample)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.all {
		m := e.sample
		if m.Value = e.Load(); m.Kind == telemetry.Gauge {
			m.Value = uint64(max(e.value.Load(), 0))
		}
		emit(m)
	}
}
