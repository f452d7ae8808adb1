// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/telemetry"
)

// stats holds the counters by their name in statistics: listeners and filters that share a prefix share them, and they
// outlive the configuration that made them. The fields' names are Envoy's (docs/configuration/*/stats).
type stats struct {
	mu        sync.Mutex
	listeners map[string]*listenerStats
	https     map[string]*httpStats
	tcps      map[string]*tcpStats
	clusters  map[string]*clusterStats
	proxied   map[string]*proxyProtocolStats
	limits    map[string]*connectionLimitStats
	extra     *extras
	inspected inspectorStats
	inspects  inspects
}

// inspects says which kinds of listener filters there have been: others have no statistics.
type inspects struct{ tls, http atomic.Bool }

// see makes the statistics of a listener's filters.
func (s *stats) see(l *mesh.Listener) map[int]*proxyProtocolStats {
	var proxied map[int]*proxyProtocolStats
	for i, f := range l.Filters {
		switch {
		case f.TLS != nil:
			s.inspects.tls.Store(true)
		case f.HTTP:
			s.inspects.http.Store(true)
		case f.Proxy != nil:
			if proxied == nil {
				proxied = map[int]*proxyProtocolStats{}
			}
			proxied[i] = named(&s.mu, s.proxied, f.Proxy.StatPrefix)
		}
	}
	return proxied
}

func (s *stats) init() {
	*s = stats{listeners: map[string]*listenerStats{}, https: map[string]*httpStats{}, tcps: map[string]*tcpStats{},
		clusters: map[string]*clusterStats{}, proxied: map[string]*proxyProtocolStats{},
		limits: map[string]*connectionLimitStats{}, extra: &extras{}}
}

func named[T any](mu *sync.Mutex, m map[string]*T, name string) *T {
	mu.Lock()
	defer mu.Unlock()
	t := m[name]
	if t == nil {
		t = new(T)
		m[name] = t
	}
	return t
}

func (s *stats) listener(l *mesh.Listener) *listenerStats {
	return named(&s.mu, s.listeners, l.StatName())
}

func (s *stats) http(prefix string) *httpStats             { return named(&s.mu, s.https, prefix) }
func (s *stats) tcp(prefix string) *tcpStats               { return named(&s.mu, s.tcps, prefix) }
func (s *stats) limit(prefix string) *connectionLimitStats { return named(&s.mu, s.limits, prefix) }
func (s *stats) cluster(n string) *clusterStats            { return named(&s.mu, s.clusters, n) }

type (
	counter = atomic.Uint64
	gauge   = atomic.Int64
)

// histogram has one bucket for each power of two.
type histogram struct {
	counts [32]counter
	sum    counter
}

// add records d in milliseconds.
func (h *histogram) add(d time.Duration) {
	ms := uint64(max(d.Milliseconds(), 0))
	h.counts[min(bits.Len64(ms), len(h.counts)-1)].Add(1)
	h.sum.Add(ms)
}

// classes counts answers by status.
type classes struct{ by [6]counter }

func (c *classes) add(status int) {
	if i := status / 100; i > 0 && i < len(c.by) {
		c.by[i].Add(1)
	}
}

var classNames = [...]string{1: "1xx", "2xx", "3xx", "4xx", "5xx"}

type listenerStats struct {
	total, noChain                           counter
	filterTimeout, filterClosed, filterError counter
	active, waiting                          gauge
	length                                   histogram
}

// inspectorStats are of the listener filters of one kind, whatever the listener.
type inspectorStats struct {
	tlsFound, tlsNotFound, sniFound, sniNotFound, alpnFound, alpnNotFound, helloTooLarge counter
	http10, http11, http2, httpNotFound, httpTooLong                                     counter
}

type httpStats struct {
	cxTotal, cxDestroy, cxRx, cxTx, cxProtocolError, cxIdleTimeout, cxDrainClose                 counter
	cxActive                                                                                     gauge
	cxLength, rqTime                                                                             histogram
	rqTotal, rqCompleted, rqTimeout, rqIdleTimeout, rqHeaderTimeout, rqTooLarge, rqEarly, rqGone counter
	rqBadPath, rqNewPath                                                                         counter
	rqActive                                                                                     gauge
	classes                                                                                      classes
	noRoute, noCluster, direct, redirect, rqMaxDuration                                          counter
	redirectLocation, redirectScheme, redirectTooMany, redirectNoRoute, redirectPredicate        counter // not followed
}

type tcpStats struct {
	total, rx, tx, noRoute, idleTimeout, maxDuration counter
}

type clusterStats struct {
	cxTotal, cxConnectFail, cxConnectTimeout, cxDestroy, cxRx, cxTx, cxOverflow, cxNoneHealthy, cxIdleTimeout, cxMaxRequests, cxMaxDuration,
	cxProtocolError, cxAttemptsExceeded counter
	cxActive                                                                                      gauge
	cxLength, cxConnect, rqTime                                                                   histogram
	rqTotal, rqTimeout, rqPendingTotal, rqPendingOverflow, rqActiveOverflow, rqCancelled, rqReset counter
	rqActive, rqPendingActive                                                                     gauge
	lbHealthyPanic                                                                                counter
	zones                                                                                         zoneStats
	ring                                                                                          atomic.Pointer[ringStats]
	maglev                                                                                        atomic.Pointer[maglevStats]
	answers

	retried answers // that were thrown away
	rqRetry, rqRetrySuccess, rqRetryOverflow, rqRetryLimit, rqRetryExponential, rqRetryLimited, rqTryTimeout, rqTryIdleTimeout,
	retryAbandoned, redirectFollowed, redirectFailed counter
}

// answers counts answers by status.
type answers struct {
	rqCompleted counter
	classes     classes
	codes       sync.Map // status -> *counter
}

// ringStats and maglevStats describe the table that was built last.
type (
	ringStats   struct{ size, fewest, most uint64 }
	maglevStats struct{ fewest, most uint64 }
)

// answered counts an answer that is charged to the cluster.
func (s *answers) answered(status int) {
	s.rqCompleted.Add(1)
	s.classes.add(status)
	c, ok := s.codes.Load(status)
	if !ok {
		c, _ = s.codes.LoadOrStore(status, new(counter))
	}
	c.(*counter).Add(1)
}

// scope emits the samples of one prefix.
type scope struct {
	emit             func(telemetry.Sample)
	base, tag, value string
}

func (s scope) sample(leaf string, kind telemetry.Kind) telemetry.Sample {
	return telemetry.Sample{Name: s.base + "." + s.value + "." + leaf, Base: s.base + "." + leaf,
		Labels: []telemetry.Label{{Key: s.tag, Value: s.value}}, Kind: kind}
}

func (s scope) counter(leaf string, c *counter) { s.counter64(leaf, c.Load()) }

func (s scope) counter64(leaf string, v uint64) {
	m := s.sample(leaf, telemetry.Counter)
	m.Value = v
	s.emit(m)
}

func (s scope) value64(leaf string, v uint64) {
	m := s.sample(leaf, telemetry.Gauge)
	m.Value = v
	s.emit(m)
}

func (s scope) gauge(leaf string, g *gauge) { s.value64(leaf, uint64(max(g.Load(), 0))) }

func (s scope) histogram(leaf string, h *histogram) {
	m := s.sample(leaf, telemetry.Histogram)
	m.Hist = &telemetry.Hist{Sum: float64(h.sum.Load())}
	for i := range h.counts {
		if i < len(h.counts)-1 {
			m.Hist.Bounds = append(m.Hist.Bounds, float64(uint64(1)<<i-1))
		}
		m.Hist.Counts = append(m.Hist.Counts, h.counts[i].Load())
	}
	s.emit(m)
}

// classes emits PREFIX_2xx and so on; Prometheus gets one family PREFIX_xx with the class as a label.
func (s scope) classes(prefix string, c *classes) {
	for i := 1; i < len(classNames); i++ {
		m := s.sample(prefix+"_"+classNames[i], telemetry.Counter)
		m.Base = s.base + "." + prefix + "_xx"
		m.Labels = append(m.Labels, telemetry.Label{Key: "envoy.response_code_class", Value: classNames[i][:1]})
		m.Value = c.by[i].Load()
		s.emit(m)
	}
}
