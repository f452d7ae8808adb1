// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// fault is envoy.filters.http.fault (Envoy: extensions/filters/http/fault/fault_filter.cc). It has its own dice: the request's
// random number decides about routes only.
type fault struct {
	config                   *mesh.Fault
	stats                    *extras
	prefix                   string
	delays, aborts, overflow *counter
	active                   *gauge
}

func newFault(c *mesh.Fault, stats *extras, prefix string) *fault {
	f := &fault{config: c, stats: stats, prefix: prefix, active: stats.httpGauge(prefix, "fault.active_faults")}
	f.delays, f.aborts = f.counter("delays_injected"), f.counter("aborts_injected")
	f.overflow = f.counter("faults_overflow")
	f.counter("response_rl_injected")
	return f
}

func (f *fault) counter(name string) *counter { return f.stats.http(f.prefix, "fault."+name) }

func (f *fault) begin(x *exchange, all overrides) step {
	c := f.config
	if o := over[*mesh.Fault](all); o != nil {
		c = o
	}
	if c.Delay == nil && c.Abort == nil {
		return nil
	}
	return &faultStep{fault: f, config: c}
}

type faultStep struct {
	passive
	*fault
	config  *mesh.Fault
	counted bool   // among the active faults
	caller  string // x-envoy-downstream-service-cluster, where it is counted by
}

func (s *faultStep) request(x *exchange) bool {
	h := &x.c.req.Header
	if !s.aimed(x) {
		return true
	}
	if !s.config.NoClusterStats {
		s.caller = h.Value("x-envoy-downstream-service-cluster")
	}
	if d := s.delay(h); d > 0 && s.take() {
		s.count("delays_injected", s.delays)
		x.facts.flags.add(flagDelayInjected)
		if !x.hold(d) {
			return false
		}
	}
	http, grpc := s.abort(h)
	if http == 0 || !s.take() {
		return true
	}
	s.count("aborts_injected", s.aborts)
	x.blame("fault_filter_abort", flagFaultInjected)
	x.reply(http, s.config.Abort.Body, func(h *http1.Header) {
		if grpc != nil && x.grpc {
			h.Set("grpc-status", strconv.FormatUint(uint64(*grpc), 10))
		}
	})
	return false
}

// aimed says whether the fault is for this request.
func (s *faultStep) aimed(x *exchange) bool {
	c, r := s.config, &x.c.req
	if c.UpstreamCluster != "" && (x.share == nil || x.named != c.UpstreamCluster) {
		return false
	}
	if c.DownstreamNodes != nil && !slices.Contains(c.DownstreamNodes, r.Header.Value("x-envoy-downstream-service-node")) {
		return false
	}
	return headersMatch(c.Headers, r)
}

// delay is how long the request waits; 0: not at all.
func (s *faultStep) delay(h *http1.Header) time.Duration {
	d := s.config.Delay
	switch {
	case d == nil:
		return 0
	case d.Fixed > 0:
		if !chance(d.Percentage) {
			return 0
		}
		return d.Fixed
	case !chance(lowered(d.Percentage, h, "x-envoy-fault-delay-request-percentage")):
		return 0
	}
	ms, _ := fieldNumber(h, "x-envoy-fault-delay-request", 63)
	return time.Duration(min(ms, 1<<40)) * time.Millisecond
}

// abort is the status that the request gets; 0: it goes on.
func (s *faultStep) abort(h *http1.Header) (http int, grpc *uint32) {
	a := s.config.Abort
	switch {
	case a == nil:
		return 0, nil
	case a.HTTPStatus != 0 || a.GRPCStatus != nil:
		if !chance(a.Percentage) {
			return 0, nil
		}
		if a.HTTPStatus != 0 {
			return a.HTTPStatus, nil
		}
		return 200, a.GRPCStatus
	case !chance(lowered(a.Percentage, h, "x-envoy-fault-abort-request-percentage")):
		return 0, nil
	}
	if n, ok := fieldNumber(h, "x-envoy-fault-abort-request", 64); ok && n >= 200 && n < 600 {
		return int(n), nil
	}
	if n, ok := fieldNumber(h, "x-envoy-fault-abort-grpc-request", 32); ok {
		code := uint32(n)
		return 200, &code
	}
	return 0, nil
}

// take counts the request among the active faults, if there is room.
func (s *faultStep) take() bool {
	if s.counted {
		return true
	}
	n := s.active.Add(1)
	if m := s.config.MaxActive; m != nil && n > int64(*m) {
		s.active.Add(-1)
		s.overflow.Add(1)
		return false
	}
	s.counted = true
	return true
}

func (s *faultStep) count(name string, c *counter) {
	c.Add(1)
	if s.caller != "" {
		s.counter(s.caller + "." + name).Add(1)
	}
}

func (s *faultStep) end(*exchange) {
	if s.counted {
		s.active.Add(-1)
	}
}

// chance rolls the dice.
func chance(f mesh.Fraction) bool { return rand.Uint32N(f.Denominator) < f.Numerator }

// lowered is a share that a field of the request may make smaller.
func lowered(f mesh.Fraction, h *http1.Header, name string) mesh.Fraction {
	if n, ok := fieldNumber(h, name, 32); ok {
		f.Numerator = min(f.Numerator, uint32(n))
	}
	return f
}

// fieldNumber is the whole number in the first field of a name.
func fieldNumber(h *http1.Header, name string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(h.Value(name)), "+"), 10, bits)
	return n, err == nil
}
