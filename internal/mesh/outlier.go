// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"
	"time"
)

// OutlierDetection ejects hosts that fail (Envoy: config.cluster.v3.OutlierDetection). Numbers of consecutive failures: 0 never.
// Enforcing* are for how many detections of 100 the host is ejected.
type OutlierDetection struct {
	Consecutive5xx            uint32 // default 5
	ConsecutiveGatewayFailure uint32 // default 5
	// SplitLocalOrigin counts failures that are seen without an answer apart (split_external_local_origin_errors);
	// ConsecutiveLocalOriginFailure (default 5) is for those.
	SplitLocalOrigin              bool
	ConsecutiveLocalOriginFailure uint32

	EnforcingConsecutive5xx                uint32 // default 100
	EnforcingConsecutiveGatewayFailure     uint32 // default 0
	EnforcingConsecutiveLocalOriginFailure uint32 // default 100
	EnforcingSuccessRate                   uint32 // default 100
	EnforcingLocalOriginSuccessRate        uint32 // default 100
	EnforcingFailurePercentage             uint32 // default 0
	EnforcingFailurePercentageLocalOrigin  uint32 // default 0

	// Interval between two sweeps, which look at rates and bring hosts back; default 10 s, at least 1 ms.
	Interval time.Duration
	// SuccessRate: of at least MinimumHosts (default 5) that had RequestVolume (default 100) requests in the interval, those are
	// ejected whose rate is below the mean by StdevFactor (default 1900) thousandths of the standard deviation.
	SuccessRateMinimumHosts, SuccessRateRequestVolume, SuccessRateStdevFactor uint32
	// FailurePercentage: of at least MinimumHosts (default 5) that had RequestVolume (default 50) requests, those are ejected of
	// which Threshold (default 85) percent failed.
	FailurePercentageMinimumHosts, FailurePercentageRequestVolume, FailurePercentageThreshold uint32

	// A host is out for BaseEjectionTime (default 30 s) times how often it was ejected lately, at most MaxEjectionTime (default
	// 300 s, or BaseEjectionTime if that is more), and a random time up to MaxEjectionTimeJitter (default 0) longer.
	BaseEjectionTime, MaxEjectionTime, MaxEjectionTimeJitter time.Duration
	// MaxEjectionPercent (default 10) of the hosts may be out; AlwaysEjectOneHost: one may be, whatever the percentage.
	MaxEjectionPercent uint32
	AlwaysEjectOneHost bool
	// UnejectOnCheck: a health check that is passed brings a host back (successful_active_health_check_uneject_host); default true.
	UnejectOnCheck bool
}

// SuccessRates are what outlier detection found of a cluster in the last interval, in percent; -1: too little was asked of it.
type SuccessRates struct {
	// Average of the hosts, and below which rate one is ejected; Local*: of what is seen without an answer.
	Average, Threshold, LocalAverage, LocalThreshold float64
	Hosts                                            map[netip.AddrPort]HostRates
}

// HostRates are a host's success rate, and that of what is seen without an answer.
type HostRates struct{ Rate, Local float64 }

// ErrorMatcher says which answers are failures, in the place of those from status 500 on
// (Envoy: HttpProtocolOptions.outlier_detection.error_matcher). One of the fields counts: the first that is set.
type ErrorMatcher struct {
	Any     bool
	And, Or []*ErrorMatcher
	Not     *ErrorMatcher
	Headers []HeaderMatch // all of them; ":status" is one
}
