// SPDX-License-Identifier: Apache-2.0

package proxy

import "slices"

// flag is one reason why a request or connection went as it did (Envoy: stream_info/utility.h, ResponseFlagUtils).
type flag uint8

const (
	flagNoHealthyUpstream flag = iota
	flagRequestTimeout
	flagRemoteReset
	flagConnectFailure
	flagUpstreamEnded
	flagOverflow
	flagNoRoute
	flagDelayInjected
	flagFaultInjected
	flagRateLimited
	flagClientEnded
	flagRetryLimit
	flagIdleTimeout
	flagProtocolError
	flagUpstreamProtocolError
	flagNoCluster
	flagDropOverload
	flagUnconditionalDrop
	flagDurationTimeout
	flagLocalReset
	flagLocalHealth
	flagClientReset
)

var flagNames = [...]struct{ short, long string }{
	flagNoHealthyUpstream:     {"UH", "NoHealthyUpstream"},
	flagRequestTimeout:        {"UT", "UpstreamRequestTimeout"},
	flagRemoteReset:           {"UR", "UpstreamRemoteReset"},
	flagConnectFailure:        {"UF", "UpstreamConnectionFailure"},
	flagUpstreamEnded:         {"UC", "UpstreamConnectionTermination"},
	flagOverflow:              {"UO", "UpstreamOverflow"},
	flagNoRoute:               {"NR", "NoRouteFound"},
	flagDelayInjected:         {"DI", "DelayInjected"},
	flagFaultInjected:         {"FI", "FaultInjected"},
	flagRateLimited:           {"RL", "RateLimited"},
	flagClientEnded:           {"DC", "DownstreamConnectionTermination"},
	flagRetryLimit:            {"URX", "UpstreamRetryLimitExceeded"},
	flagIdleTimeout:           {"SI", "StreamIdleTimeout"},
	flagProtocolError:         {"DPE", "DownstreamProtocolError"},
	flagUpstreamProtocolError: {"UPE", "UpstreamProtocolError"},
	flagNoCluster:             {"NC", "NoClusterFound"},
	flagDropOverload:          {"DO", "DropOverload"},
	flagUnconditionalDrop:     {"UDO", "UnconditionalDropOverload"},
	flagDurationTimeout:       {"DT", "DurationTimeout"},
	flagClientReset:           {"DR", "DownstreamRemoteReset"},
	flagLocalHealth:           {"LH", "FailedLocalHealthCheck"},
	flagLocalReset:            {"LR", "LocalReset"},
}

// flags are those that were set, in that order, as Envoy lists them.
type flags struct {
	set [6]flag
	n   int
}

func (f *flags) add(one flag) {
	if f.n < len(f.set) && !slices.Contains(f.set[:f.n], one) {
		f.set[f.n] = one
		f.n++
	}
}

// append writes their names; false: there are none.
func (f *flags) append(b []byte, long bool) ([]byte, bool) {
	for i, one := range f.set[:f.n] {
		if i > 0 {
			b = append(b, ',')
		}
		if long {
			b = append(b, flagNames[one].long...)
		} else {
			b = append(b, flagNames[one].short...)
		}
	}
	return b, f.n > 0
}

// any says whether one of the short names is set.
func (f *flags) any(short []string) bool {
	return slices.ContainsFunc(f.set[:f.n], func(one flag) bool { return slices.Contains(short, flagNames[one].short) })
}
