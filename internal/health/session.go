// SPDX-License-Identifier: Apache-2.0

// Package health tries hosts as active health checks ask for: when, over
// which connection, and what a result makes of the host. It knows one host at
// a time: which hosts there are, and what follows for balancing, is package
// upstream's.
package health

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Options of a session.
type Options struct {
	Config  *mesh.HealthCheck
	Address netip.AddrPort // where to
	Host    string         // for the field host of a request
	Flags   mesh.Flags     // what the host is before the first result
	Stats   *Stats         // of the cluster
	// Traffic says whether the cluster has ever had any.
	Traffic func() bool
	// Publish is told what the host is after each result, and whether that was good. It is called from several goroutines, one
	// after the other.
	Publish func(now mesh.Flags, good bool)
}

// Session tries one host again and again (Envoy: ActiveHealthCheckSession).
type Session struct {
	o Options

	mu      sync.Mutex
	state   state
	running bool
}

// New only remembers; Run tries the host.
func New(o Options) *Session {
	return &Session{o: o, state: state{config: o.Config, flags: o.Flags}}
}

// prober tries a host over its own connection. It is used by one goroutine.
type prober interface {
	// try reports what came of one try. It ends when ctx does, which then is what came of it.
	try(ctx context.Context) result
	// idle waits until ctx ends, and looks after the connection meanwhile. True: there is a result before its time.
	idle(ctx context.Context) (result, bool)
	close()
}

// Run tries the host until ctx ends, which is the session's end.
func (s *Session) Run(ctx context.Context) {
	s.begin()
	defer s.end()
	p := s.prober()
	defer p.close()
	c := s.o.Config
	if c.InitialJitter > 0 && !sleep(ctx, jitter(0, 0, c.InitialJitter)) {
		return
	}
	for ctx.Err() == nil {
		s.o.Stats.Attempt.Add(1)
		limited, cancel := context.WithTimeout(ctx, c.Timeout)
		r := p.try(limited)
		cancel()
		for early := true; early && ctx.Err() == nil; {
			t := s.take(r)
			next, cancel := context.WithTimeout(ctx, wait(c, r <= degraded, t, s.o.Traffic()))
			r, early = p.idle(next)
			cancel()
		}
	}
}

func (s *Session) prober() prober {
	if s.o.Config.HTTP != nil {
		return &httpProber{session: s}
	}
	return &tcpProber{session: s}
}

// Fail makes the host unhealthy at once, and leaves it out of what counts as a member: it has said so in its answer to a request.
// Safe for concurrent use.
func (s *Session) Fail() {
	s.exclude()
	s.take(passive)
}

// exclude remembers that the host asked to be left out; the result that comes next publishes it.
func (s *Session) exclude() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.flags |= mesh.ExcludedByActiveCheck
}

func (s *Session) take(r result) transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return unchanged
	}
	before := s.state.flags
	t := s.state.take(r)
	s.o.Stats.result(r)
	s.o.Stats.count(before, s.state.flags)
	s.o.Publish(s.state.flags, r == passed || r == degraded)
	return t
}

// begin takes the host into the statistics, and end out of them.
func (s *Session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
	s.o.Stats.count(mesh.FailedActiveCheck, s.state.flags)
}

func (s *Session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	s.o.Stats.leave(s.state.flags)
}

// sleep reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
