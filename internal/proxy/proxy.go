// SPDX-License-Identifier: Apache-2.0

// Package proxy is the user-space tier: it accepts connections and forwards
// TCP and HTTP/1.1 as Envoy does with one worker. It can serve every
// configuration alone and is what the other tiers are compared with.
//
// It reads mesh.Config and mesh.Hosts and never sees the kernel half. It does
// not decode configuration (package xds), does not resolve names or judge
// health (package upstream).
package proxy

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/logfile"
	"github.com/leno-mesh/leno/internal/upstream"
)

// Options of the tier. Counts and Log are required.
type Options struct {
	Counts upstream.Counts
	// Upstream is told what came of requests and connections; nil: nobody is.
	Upstream *upstream.Upstream
	Log      *slog.Logger
	// DrainTime bounds how long connections of listeners that went or changed, or of a stopping agent, may go on; 0: not at all.
	DrainTime time.Duration
	// LogFlushInterval and LogFlushSize are how long and how much of an access log may stay in memory; 0: 10 s and 64 KiB.
	LogFlushInterval time.Duration
	LogFlushSize     int // bytes
}

// Proxy carries traffic. Its methods may be called from any goroutine; Update by one at a time.
type Proxy struct {
	o       Options
	state   atomic.Pointer[state]
	stats   stats
	logs    *logfile.Set
	running sync.WaitGroup // accept loops and connections
	ended   atomic.Bool    // Run has begun to drain: nothing new is accepted
	mirrors mirrors

	mu      sync.Mutex
	sockets map[socketKey]*socket
	parked  map[net.Listener]bool
	retired map[*version]bool // of listeners, still with connections
}

// state is what one Update made; immutable.
type state struct {
	config    *mesh.Config
	listeners map[listenerKey]*version
	clusters  map[mesh.ClusterID]*cluster
	routes    map[routesKey]*routeTable         // by RDS name
	tables    map[*mesh.RouteConfig]*routeTable // of this state, to be used again
	scopes    map[string]*mesh.Scope
}

type listenerKey struct{ scope, name string }
type routesKey struct{ scope, name string }

// New returns a tier that serves nothing yet.
func New(o Options) *Proxy {
	p := &Proxy{o: o, sockets: map[socketKey]*socket{}, parked: map[net.Listener]bool{}, retired: map[*version]bool{}}
	p.stats.init()
	p.logs = logfile.New(logfile.Options{Interval: o.LogFlushInterval, MinSize: o.LogFlushSize, Log: o.Log})
	p.state.Store(&state{})
	return p
}

// Update brings a configuration and its hosts into force: new requests and connections see all of it or nothing. It
// returns the listeners that could not be bound; they are tried again by the next Update.
func (p *Proxy) Update(cfg *mesh.Config, hosts *mesh.Hosts) []error {
	old, next := p.compile(cfg, hosts)
	errs := p.bind(next)
	p.retire(old, next)
	return errs
}

// compile makes the state of a configuration the present one.
func (p *Proxy) compile(cfg *mesh.Config, hosts *mesh.Hosts) (old, next *state) {
	old = p.state.Load()
	next = &state{config: cfg, listeners: map[listenerKey]*version{}, clusters: map[mesh.ClusterID]*cluster{},
		routes: map[routesKey]*routeTable{}, tables: map[*mesh.RouteConfig]*routeTable{}, scopes: map[string]*mesh.Scope{}}
	for _, sc := range cfg.Scopes {
		next.scopes[sc.Cgroup] = sc
		var local *mesh.HostSet
		if sc.LocalCluster != "" {
			local = hosts.Set(mesh.ClusterID{Scope: sc.Cgroup, Name: sc.LocalCluster})
		}
		for _, c := range sc.Clusters {
			id := mesh.ClusterID{Scope: sc.Cgroup, Name: c.Name}
			from := local
			if c.Name == sc.LocalCluster {
				from = nil // as in Envoy, where nothing is local yet when it is made
			}
			next.clusters[id] = p.cluster(old.clusters[id], id, c, hosts.Set(id), from)
		}
		for _, rc := range sc.Routes {
			next.routes[routesKey{sc.Cgroup, rc.Name}] = next.table(old, rc)
		}
		for _, l := range sc.Listeners {
			if l.Tombstone == "" {
				next.listeners[listenerKey{sc.Cgroup, l.Name}] = p.version(old, next, sc.Cgroup, l)
			}
		}
	}
	p.state.Store(next)
	for id, c := range old.clusters {
		if next.clusters[id] == nil {
			c.close()
		}
	}
	return old, next
}

// table compiles a route configuration, or takes what was compiled before.
func (s *state) table(old *state, rc *mesh.RouteConfig) *routeTable {
	t := old.tables[rc]
	if t == nil {
		t = newRouteTable(rc)
	}
	s.tables[rc] = t
	return t
}

// Run serves until ctx ends, then drains: no new connections, each answer closes its connection, and what still lives after
// DrainTime is cut. It returns when every connection has ended.
func (p *Proxy) Run(ctx context.Context) error {
	sweep := time.NewTicker(time.Second)
	defer sweep.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-sweep.C:
			for _, c := range p.state.Load().clusters {
				c.sweep(now)
			}
			p.expire(now)
		}
	}
	p.drain()
	done := make(chan struct{})
	go func() { defer close(done); p.running.Wait() }()
	limit := time.NewTimer(p.o.DrainTime)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		p.cutAll()
		<-done
	}
	for _, c := range p.state.Load().clusters {
		c.close()
	}
	p.logs.Close(time.Second)
	return nil
}

// HasTraffic says whether there ever was a connection to a host of the cluster.
func (p *Proxy) HasTraffic(id mesh.ClusterID) bool {
	c := p.state.Load().clusters[id]
	return c != nil && c.stats.cxTotal.Load() > 0
}
