// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"maps"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/telemetry"
)

// Collect implements telemetry.Source with Envoy's names.
func (p *Proxy) Collect(emit func(telemetry.Sample)) {
	p.stats.mu.Lock()
	listeners, https, tcps := maps.Clone(p.stats.listeners), maps.Clone(p.stats.https), maps.Clone(p.stats.tcps)
	clusters, proxied := maps.Clone(p.stats.clusters), maps.Clone(p.stats.proxied)
	limits := maps.Clone(p.stats.limits)
	p.stats.mu.Unlock()
	for name, s := range listeners {
		e := scope{emit, "listener", "envoy.listener_address", name}
		e.counter("downstream_cx_total", &s.total)
		e.counter("no_filter_chain_match", &s.noChain)
		e.counter("downstream_pre_cx_timeout", &s.filterTimeout)
		e.counter("downstream_listener_filter_remote_close", &s.filterClosed)
		e.counter("downstream_listener_filter_error", &s.filterError)
		e.gauge("downstream_pre_cx_active", &s.waiting)
		e.gauge("downstream_cx_active", &s.active)
		e.histogram("downstream_cx_length_ms", &s.length)
	}
	for name, s := range https {
		collectHTTP(scope{emit, "http", "envoy.http_conn_manager_prefix", name}, s)
	}
	for name, s := range tcps {
		e := scope{emit, "tcp", "envoy.tcp_prefix", name}
		e.counter("downstream_cx_total", &s.total)
		e.counter("downstream_cx_rx_bytes_total", &s.rx)
		e.counter("downstream_cx_tx_bytes_total", &s.tx)
		e.counter("downstream_cx_no_route", &s.noRoute)
		e.counter("idle_timeout", &s.idleTimeout)
		e.counter("max_downstream_connection_duration", &s.maxDuration)
	}
	for name, s := range clusters {
		collectCluster(scope{emit, "cluster", "envoy.cluster_name", name}, s)
	}
	for name, s := range limits {
		e := scope{emit, "connection_limit", "envoy.connection_limit_prefix", name}
		e.gauge("active_connections", &s.active)
		e.counter("limited_connections", &s.limited)
	}
	p.stats.collectInspectors(emit)
	for prefix, s := range proxied {
		collectProxyProtocol(emit, prefix, s)
	}
	p.stats.extra.collect(emit)
	p.collectLogs(emit)
	if p.o.Upstream != nil {
		for name, ejections := range p.o.Upstream.Ejections() {
			e := scope{emit, "cluster", "envoy.cluster_name", name}
			e.value64("outlier_detection.ejections_active", ejections.Active())
			ejections.Counters(func(leaf string, v uint64) { e.counter64("outlier_detection."+leaf, v) })
		}
		for name, checks := range p.o.Upstream.Checks() {
			e := scope{emit, "cluster", "envoy.cluster_name", name.Cluster}
			prefix := "health_check."
			if name.Check != "" {
				prefix += "name." + name.Check + "."
			}
			e.gauge(prefix+"healthy", &checks.Healthy)
			e.gauge(prefix+"degraded", &checks.Degraded)
			checks.Counters(func(leaf string, v uint64) { e.counter64(prefix+leaf, v) })
		}
	}
	p.collectMembers(emit)
}

// collectInspectors emits what the kinds of listener filters count that there have been.
func (s *stats) collectInspectors(emit func(telemetry.Sample)) {
	if s.inspects.tls.Load() {
		for name, c := range map[string]*counter{
			"tls_found": &s.inspected.tlsFound, "tls_not_found": &s.inspected.tlsNotFound,
			"sni_found": &s.inspected.sniFound, "sni_not_found": &s.inspected.sniNotFound,
			"alpn_found": &s.inspected.alpnFound, "alpn_not_found": &s.inspected.alpnNotFound,
			"client_hello_too_large": &s.inspected.helloTooLarge,
		} {
			plain(emit, "tls_inspector."+name, c)
		}
	}
	if s.inspects.http.Load() {
		for name, c := range map[string]*counter{
			"http10_found": &s.inspected.http10, "http11_found": &s.inspected.http11, "http2_found": &s.inspected.http2,
			"http_not_found": &s.inspected.httpNotFound, "read_error": &s.inspected.httpTooLong,
		} {
			plain(emit, "http_inspector."+name, c)
		}
	}
}

// collectProxyProtocol emits what listener filters of that prefix count.
func collectProxyProtocol(emit func(telemetry.Sample), prefix string, p *proxyProtocolStats) {
	base := "proxy_proto."
	if prefix != "" {
		base += prefix + "."
	}
	for name, c := range map[string]*counter{
		base + "not_found_allowed": &p.allowed, base + "not_found_disallowed": &p.refused,
		base + "versions.v1.found": &p.v1.found, base + "versions.v1.error": &p.v1.errors, base + "versions.v1.disallowed": &p.v1.disallowed,
		base + "versions.v2.found": &p.v2.found, base + "versions.v2.error": &p.v2.errors, base + "versions.v2.disallowed": &p.v2.disallowed,
		"downstream_cx_proxy_proto_error": &p.errors,
	} {
		plain(emit, name, c)
	}
}

// plain emits a counter that has no tag.
func plain(emit func(telemetry.Sample), name string, c *counter) {
	emit(telemetry.Sample{Name: name, Base: name, Kind: telemetry.Counter, Value: c.Load()})
}

func collectHTTP(e scope, s *httpStats) {
	for name, c := range map[string]*counter{
		"downstream_cx_total": &s.cxTotal, "downstream_cx_http1_total": &s.cxTotal, "downstream_cx_destroy": &s.cxDestroy,
		"downstream_cx_rx_bytes_total": &s.cxRx, "downstream_cx_tx_bytes_total": &s.cxTx,
		"downstream_cx_protocol_error": &s.cxProtocolError, "downstream_cx_idle_timeout": &s.cxIdleTimeout,
		"downstream_cx_drain_close": &s.cxDrainClose,
		"downstream_rq_total":       &s.rqTotal, "downstream_rq_http1_total": &s.rqTotal, "downstream_rq_completed": &s.rqCompleted,
		"downstream_rq_timeout": &s.rqTimeout, "downstream_rq_idle_timeout": &s.rqIdleTimeout,
		"downstream_rq_max_duration_reached": &s.rqMaxDuration,
		"downstream_rq_header_timeout":       &s.rqHeaderTimeout, "downstream_rq_too_large": &s.rqTooLarge,
		"downstream_rq_response_before_rq_complete": &s.rqEarly, "downstream_rq_rx_reset": &s.rqGone,
		"downstream_rq_failed_path_normalization": &s.rqBadPath, "downstream_rq_redirected_with_normalized_path": &s.rqNewPath,
		"no_route": &s.noRoute, "no_cluster": &s.noCluster, "rq_direct_response": &s.direct, "rq_redirect": &s.redirect,
		"passthrough_internal_redirect_bad_location": &s.redirectLocation, "passthrough_internal_redirect_unsafe_scheme": &s.redirectScheme,
		"passthrough_internal_redirect_too_many_redirects": &s.redirectTooMany, "passthrough_internal_redirect_no_route": &s.redirectNoRoute,
		"passthrough_internal_redirect_predicate": &s.redirectPredicate,
	} {
		e.counter(name, c)
	}
	e.gauge("downstream_cx_active", &s.cxActive)
	e.gauge("downstream_cx_http1_active", &s.cxActive)
	e.gauge("downstream_rq_active", &s.rqActive)
	e.histogram("downstream_cx_length_ms", &s.cxLength)
	e.histogram("downstream_rq_time", &s.rqTime)
	e.classes("downstream_rq", &s.classes)
}

func collectCluster(e scope, s *clusterStats) {
	for name, c := range map[string]*counter{
		"upstream_cx_total": &s.cxTotal, "upstream_cx_connect_fail": &s.cxConnectFail,
		"upstream_cx_connect_timeout": &s.cxConnectTimeout, "upstream_cx_destroy": &s.cxDestroy,
		"upstream_cx_rx_bytes_total": &s.cxRx, "upstream_cx_tx_bytes_total": &s.cxTx, "upstream_cx_overflow": &s.cxOverflow,
		"upstream_cx_none_healthy": &s.cxNoneHealthy, "upstream_cx_idle_timeout": &s.cxIdleTimeout,
		"upstream_cx_max_requests": &s.cxMaxRequests, "upstream_cx_max_duration_reached": &s.cxMaxDuration, "upstream_cx_protocol_error": &s.cxProtocolError,
		"upstream_cx_connect_attempts_exceeded": &s.cxAttemptsExceeded,
		"upstream_rq_total":                     &s.rqTotal, "upstream_rq_timeout": &s.rqTimeout,
		"upstream_rq_pending_total": &s.rqPendingTotal, "upstream_rq_pending_overflow": &s.rqPendingOverflow, "upstream_rq_active_overflow": &s.rqActiveOverflow,
		"lb_healthy_panic":      &s.lbHealthyPanic,
		"upstream_rq_cancelled": &s.rqCancelled, "upstream_rq_rx_reset": &s.rqReset,
		"upstream_rq_retry": &s.rqRetry, "upstream_rq_retry_success": &s.rqRetrySuccess,
		"upstream_rq_retry_overflow": &s.rqRetryOverflow, "upstream_rq_retry_limit_exceeded": &s.rqRetryLimit,
		"upstream_rq_retry_backoff_exponential": &s.rqRetryExponential, "upstream_rq_retry_backoff_ratelimited": &s.rqRetryLimited,
		"upstream_rq_per_try_timeout": &s.rqTryTimeout, "upstream_rq_per_try_idle_timeout": &s.rqTryIdleTimeout,
		"retry_or_shadow_abandoned":                  &s.retryAbandoned,
		"upstream_internal_redirect_succeeded_total": &s.redirectFollowed, "upstream_internal_redirect_failed_total": &s.redirectFailed,
	} {
		e.counter(name, c)
	}
	e.gauge("upstream_cx_active", &s.cxActive)
	e.gauge("upstream_rq_active", &s.rqActive)
	e.gauge("upstream_rq_pending_active", &s.rqPendingActive)
	e.histogram("upstream_cx_length_ms", &s.cxLength)
	e.histogram("upstream_cx_connect_ms", &s.cxConnect)
	e.histogram("upstream_rq_time", &s.rqTime)
	if r := s.ring.Load(); r != nil {
		e.value64("ring_hash_lb.size", r.size)
		e.value64("ring_hash_lb.min_hashes_per_host", r.fewest)
		e.value64("ring_hash_lb.max_hashes_per_host", r.most)
	}
	if m := s.maglev.Load(); m != nil {
		e.value64("maglev_lb.min_entries_per_host", m.fewest)
		e.value64("maglev_lb.max_entries_per_host", m.most)
	}
	s.zones.collect(e)
	collectAnswers(e, "upstream_rq", &s.answers)
	if s.retried.rqCompleted.Load() > 0 { // Envoy makes these when the first is counted
		collectAnswers(e, "retry.upstream_rq", &s.retried)
	}
}

func collectAnswers(e scope, prefix string, a *answers) {
	e.counter(prefix+"_completed", &a.rqCompleted)
	e.classes(prefix, &a.classes)
	a.codes.Range(func(status, c any) bool {
		m := e.sample(fmt.Sprintf("%s_%d", prefix, status), telemetry.Counter)
		m.Base = e.base + "." + prefix
		m.Labels = append(m.Labels, telemetry.Label{Key: "envoy.response_code", Value: fmt.Sprint(status)})
		m.Value = c.(*counter).Load()
		e.emit(m)
		return true
	})
}

// collectMembers emits what is known of every configured cluster, used or not.
func (p *Proxy) collectMembers(emit func(telemetry.Sample)) {
	for _, c := range p.state.Load().clusters {
		v := c.view.Load()
		e := scope{emit, "cluster", "envoy.cluster_name", v.config.StatName()}
		var by [mesh.Degraded + 1]uint64
		excluded := uint64(0)
		for _, h := range v.set.All {
			by[h.State()]++
			if h.Excluded() {
				excluded++
			}
		}
		e.value64("membership_total", uint64(len(v.set.All)))
		e.value64("membership_healthy", by[mesh.Healthy])
		e.value64("membership_degraded", by[mesh.Degraded])
		e.value64("membership_excluded", excluded)
		for i := range c.flights {
			c.flights[i].collect(e)
		}
	}
}

// Endpoints are the counters of every host that has carried something.
func (p *Proxy) Endpoints() []telemetry.Endpoint {
	var all []telemetry.Endpoint
	for _, c := range p.state.Load().clusters {
		all = append(all, c.endpoints()...)
	}
	return all
}
