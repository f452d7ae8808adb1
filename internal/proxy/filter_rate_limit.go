// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strconv"
	"sync"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// rateLimit is envoy.filters.http.local_ratelimit (Envoy: extensions/filters/http/local_ratelimit/local_ratelimit.cc).
type rateLimit struct{ own *limiter }

func newRateLimit(c *mesh.LocalRateLimit, stats *extras) *rateLimit {
	return &rateLimit{newLimiter(c, stats)}
}

// limiter is one setting with its buckets and counters.
type limiter struct {
	config                         *mesh.LocalRateLimit
	buckets                        *buckets
	enabled, ok, limited, enforced *counter
}

func newLimiter(c *mesh.LocalRateLimit, stats *extras) *limiter {
	l := &limiter{config: c, buckets: newBuckets(c)}
	of := func(leaf string) *counter { return stats.rateLimit(c.StatPrefix, leaf) }
	l.enabled, l.ok, l.limited, l.enforced = of("enabled"), of("ok"), of("rate_limited"), of("enforced")
	return l
}

// limiters are those of a route configuration, which share its life.
type limiters struct {
	mu  sync.Mutex
	all map[*mesh.LocalRateLimit]*limiter
}

func (s *limiters) of(c *mesh.LocalRateLimit, stats *extras) *limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.all[c]
	if l == nil {
		l = newLimiter(c, stats)
		if s.all == nil {
			s.all = map[*mesh.LocalRateLimit]*limiter{}
		}
		s.all[c] = l
	}
	return l
}

func (f *rateLimit) begin(x *exchange, all overrides) step {
	l := f.own
	if o := over[*mesh.LocalRateLimit](all); o != nil {
		l = x.match.limiters.of(o, x.c.p.stats.extra)
	}
	return &rateLimitStep{limiter: l}
}

type rateLimitStep struct {
	passive
	*limiter
	asked *bucket // that decided; nil: none was asked
}

func (s *rateLimitStep) request(x *exchange) bool {
	c := s.config
	if !chance(c.Enabled) {
		return true
	}
	s.enabled.Add(1)
	buckets := s.buckets
	if c.PerConnection {
		if x.c.buckets == nil {
			x.c.buckets = newBuckets(c)
		}
		buckets = x.c.buckets
	}
	var all []mesh.Descriptor
	if c.Descriptors != nil {
		all = x.descriptors(c)
	}
	var ok bool
	if s.asked, ok = buckets.take(all); ok {
		s.ok.Add(1)
		return true
	}
	s.limited.Add(1)
	if !chance(c.Enforced) {
		x.apply(&c.RequestHeaders, &x.c.req.Header, nil)
		return true
	}
	s.enforced.Add(1)
	x.blame("local_rate_limited", flagRateLimited)
	x.reply(c.Status, "local_rate_limited", func(h *http1.Header) {
		x.apply(&c.ResponseHeaders, h, h)
		if c.RetryAfter && c.Status == 429 && !h.Has("retry-after") {
			_, wait := s.asked.left()
			h.Set("retry-after", strconv.FormatUint(max(wait, 1), 10))
		}
		if c.ResourceExhausted && x.grpc {
			h.Set("grpc-status", "8")
		}
	})
	return false
}

func (s *rateLimitStep) response(_ *exchange, _ int, h *http1.Header) {
	if s.asked == nil || !s.config.RateLimitHeaders {
		return
	}
	tokens, wait := s.asked.left()
	h.Add("x-ratelimit-limit", strconv.FormatUint(uint64(s.asked.max), 10))
	h.Add("x-ratelimit-remaining", strconv.FormatUint(tokens, 10))
	h.Add("x-ratelimit-reset", strconv.FormatUint(wait, 10))
}
