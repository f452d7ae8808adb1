// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// outlierDetection reads when hosts are ejected; nil: never.
func outlierDetection(p *clusterv3.OutlierDetection, f *findings) *mesh.OutlierDetection {
	if p == nil {
		return nil
	}
	at := func(field string) string { return join("outlier_detection", field) }
	o := &mesh.OutlierDetection{
		Consecutive5xx:                uint32Or(p.GetConsecutive_5Xx(), 5),
		ConsecutiveGatewayFailure:     uint32Or(p.GetConsecutiveGatewayFailure(), 5),
		SplitLocalOrigin:              p.GetSplitExternalLocalOriginErrors(),
		ConsecutiveLocalOriginFailure: uint32Or(p.GetConsecutiveLocalOriginFailure(), 5),

		EnforcingConsecutive5xx:                uint32Or(p.GetEnforcingConsecutive_5Xx(), 100),
		EnforcingConsecutiveGatewayFailure:     uint32Or(p.GetEnforcingConsecutiveGatewayFailure(), 0),
		EnforcingConsecutiveLocalOriginFailure: uint32Or(p.GetEnforcingConsecutiveLocalOriginFailure(), 100),
		EnforcingSuccessRate:                   uint32Or(p.GetEnforcingSuccessRate(), 100),
		EnforcingLocalOriginSuccessRate:        uint32Or(p.GetEnforcingLocalOriginSuccessRate(), 100),
		EnforcingFailurePercentage:             uint32Or(p.GetEnforcingFailurePercentage(), 0),
		EnforcingFailurePercentageLocalOrigin:  uint32Or(p.GetEnforcingFailurePercentageLocalOrigin(), 0),

		Interval:                       max(duration(p.GetInterval(), 10*time.Second, at("interval"), f), time.Millisecond),
		SuccessRateMinimumHosts:        uint32Or(p.GetSuccessRateMinimumHosts(), 5),
		SuccessRateRequestVolume:       uint32Or(p.GetSuccessRateRequestVolume(), 100),
		SuccessRateStdevFactor:         uint32Or(p.GetSuccessRateStdevFactor(), 1900),
		FailurePercentageMinimumHosts:  uint32Or(p.GetFailurePercentageMinimumHosts(), 5),
		FailurePercentageRequestVolume: uint32Or(p.GetFailurePercentageRequestVolume(), 50),
		FailurePercentageThreshold:     uint32Or(p.GetFailurePercentageThreshold(), 85),

		BaseEjectionTime:      duration(p.GetBaseEjectionTime(), 30*time.Second, at("base_ejection_time"), f),
		MaxEjectionTimeJitter: duration(p.GetMaxEjectionTimeJitter(), 0, at("max_ejection_time_jitter"), f),
		MaxEjectionPercent:    uint32Or(p.GetMaxEjectionPercent(), 10),
		AlwaysEjectOneHost:    p.GetAlwaysEjectOneHost().GetValue(),
		UnejectOnCheck:        boolOr(p.GetSuccessfulActiveHealthCheckUnejectHost(), true),
	}
	o.MaxEjectionTime = duration(p.GetMaxEjectionTime(), max(300*time.Second, o.BaseEjectionTime), at("max_ejection_time"), f)
	if o.MaxEjectionTime < o.BaseEjectionTime {
		f.invalid(at("max_ejection_time"), "must not be below base_ejection_time")
	}
	return o
}

// distinct refuses members that could not be told apart.
func distinct(e *mesh.Endpoints, field string, f *findings) {
	seen := map[netip.AddrPort]bool{}
	for i := range e.Endpoints {
		a := e.Endpoints[i].Address
		if a.IsValid() && seen[a] {
			f.refused(field, "is not supported where an address is a member twice: %s", a)
			return
		}
		seen[a] = true
	}
}

// errorMatcher reads what outlier detection takes for a failure; nil: what it does by itself.
func errorMatcher(p *matcherv3.MatchPredicate, path string, f *findings) *mesh.ErrorMatcher {
	if p == nil {
		return nil
	}
	set := func(field string, rules []*matcherv3.MatchPredicate) (all []*mesh.ErrorMatcher) {
		for i, r := range rules {
			all = append(all, errorMatcher(r, at(join(path, field+".rules"), i), f))
		}
		return all
	}
	m := &mesh.ErrorMatcher{Any: p.GetAnyMatch(), And: set("and_match", p.GetAndMatch().GetRules()), Or: set("or_match", p.GetOrMatch().GetRules()),
		Not: errorMatcher(p.GetNotMatch(), join(path, "not_match"), f)}
	if h := p.GetHttpResponseHeadersMatch(); h != nil {
		m.Headers = headerMatches(h.GetHeaders(), join(path, "http_response_headers_match.headers"), f)
		m.Any = len(h.GetHeaders()) == 0
	}
	return m
}
