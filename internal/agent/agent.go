// SPDX-License-Identifier: Apache-2.0

// Package agent wires the rooms together and owns every long-lived goroutine:
// sources of configuration in, one loop that compiles and applies, the proxy
// and the admin API beside it. It decides nothing about traffic itself.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leno-mesh/leno/internal/admin"
	"github.com/leno-mesh/leno/internal/dataplane"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy"
	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/telemetry"
	"github.com/leno-mesh/leno/internal/upstream"
	"github.com/leno-mesh/leno/internal/xds"
)

// Scope is one configuration file and the cgroup that it manages.
type Scope struct {
	Cgroup string // path below the cgroup2 mount; "/" is the whole host
	Path   string // Envoy bootstrap, YAML or JSON
}

// Options of one agent. Scopes, Version and Log are required.
type Options struct {
	Scopes  []Scope
	Tier    table.Mode // "" is auto
	Version string

	// ServiceNode and ServiceCluster replace node.id and node.cluster of every bootstrap.
	ServiceNode, ServiceCluster string
	// StateDir holds the admin socket; default /run/leno.
	StateDir string
	// DrainTime is how long a stopping agent waits for what it carries; default 600 s, as Envoy's --drain-time-s.
	DrainTime time.Duration
	// LogFlushInterval and LogFlushSize are of access logs; 0: as Envoy's --file-flush-interval-msec and --file-flush-min-size-kb.
	LogFlushInterval time.Duration
	LogFlushSize     int // bytes
	// Dataplane is passed on; its Log is replaced by Log.
	Dataplane dataplane.Options
	Log       *slog.Logger
}

// DefaultStateDir is where the admin socket lies unless --state-dir says otherwise.
const DefaultStateDir = "/run/leno"

// AdminSocket is the path of the control socket below a state directory.
func AdminSocket(stateDir string) string { return filepath.Join(stateDir, "admin.sock") }

// Agent is one running leno. Its methods may be called from any goroutine.
type Agent struct {
	o     Options
	since time.Time

	sources []*xds.Source
	up      *upstream.Upstream
	traffic traffic
	proxy   *proxy.Proxy
	kernel  *dataplane.Dataplane // nil: no kernel half, kernelOff says why

	kernelOff string
	draining  atomic.Bool
	dirty     chan struct{} // capacity 1: the configuration changed
	stop      context.CancelFunc
	detach    atomic.Bool

	mu      sync.Mutex
	config  *mesh.Config // newest accepted
	current current      // in force
}

// current is what the loop brought into force last.
type current struct {
	config     *mesh.Config
	hosts      *mesh.Hosts
	tables     *table.Tables
	bindErrors []error
	lastError  string
	live       bool // a configuration was in force at least once
}

// New reads the configuration and opens the kernel half. The error is an *xds.Invalid when a file has problems;
// then nothing was attached. Whoever gets an Agent must Run it.
func New(o Options) (*Agent, error) {
	if o.StateDir == "" {
		o.StateDir = DefaultStateDir
	}
	if o.DrainTime == 0 {
		o.DrainTime = 600 * time.Second
	}
	a := &Agent{o: o, since: time.Now(), dirty: make(chan struct{}, 1), config: &mesh.Config{}}
	if err := a.load(); err != nil {
		return nil, err
	}
	if err := a.openKernel(); err != nil {
		return nil, err
	}
	a.up = upstream.New(upstream.Options{Log: o.Log, Traffic: a.hasTraffic})
	counts := upstream.NewCounts()
	if a.kernel != nil {
		counts = a.kernel.Counts()
	}
	a.proxy = proxy.New(proxy.Options{Counts: counts, Upstream: a.up, Log: o.Log, DrainTime: o.DrainTime,
		LogFlushInterval: o.LogFlushInterval, LogFlushSize: o.LogFlushSize})
	return a, nil
}

func (a *Agent) load() error {
	var problems []mesh.Problem
	for _, s := range a.o.Scopes {
		src, scope, err := xds.Load(xds.Options{Path: s.Path, Cgroup: s.Cgroup,
			ServiceNode: a.o.ServiceNode, ServiceCluster: a.o.ServiceCluster, Log: a.o.Log})
		var invalid *xds.Invalid
		if errors.As(err, &invalid) {
			problems = append(problems, invalid.Problems...)
			continue
		} else if err != nil {
			return err
		}
		a.sources = append(a.sources, src)
		a.config.Scopes = append(a.config.Scopes, scope)
	}
	if problems != nil {
		return &xds.Invalid{Problems: problems}
	}
	sort.Slice(a.config.Scopes, func(i, j int) bool { return a.config.Scopes[i].Cgroup < a.config.Scopes[j].Cgroup })
	return nil
}

// openKernel opens the kernel half; only --tier=proxy may go on without it.
func (a *Agent) openKernel() error {
	o := a.o.Dataplane
	o.Log = a.o.Log
	k, err := dataplane.Open(o)
	if err == nil {
		a.kernel = k
		return nil
	}
	if errors.Is(err, dataplane.ErrInUse) {
		return err // also without the kernel: two agents would fight for the same addresses
	}
	if a.o.Tier != table.ModeProxy {
		return fmt.Errorf("%w (leno run --tier=proxy goes on without the kernel)", err)
	}
	a.kernelOff = err.Error()
	a.o.Log.Warn("no kernel half: listeners with bind_to_port false take no traffic", "why", err)
	return nil
}

// Run serves until ctx ends or Stop is called, then drains. It returns when everything it started has ended;
// with detach asked for, the kernel half is gone by then.
func (a *Agent) Run(ctx context.Context) error {
	ctx, a.stop = context.WithCancel(ctx)
	defer a.stop()
	control, err := admin.ListenUnix(AdminSocket(a.o.StateDir))
	if err != nil {
		return errors.Join(err, a.closeKernel())
	}
	defer os.Remove(AdminSocket(a.o.StateDir))

	// The admin API answers until the drain is over; everything else ends with ctx.
	adminCtx, adminStop := context.WithCancel(context.WithoutCancel(ctx))
	var adminGroup errgroup.Group
	server := admin.New(a)
	adminGroup.Go(func() error { return server.ServeUnix(adminCtx, control) })
	a.serveAdmin(adminCtx, server, &adminGroup)

	g, ctx := errgroup.WithContext(ctx)
	for _, s := range a.sources {
		g.Go(func() error { return s.Run(ctx, a.publish) })
	}
	g.Go(func() error { return a.up.Run(ctx) })
	g.Go(func() error { return a.loop(ctx) })
	context.AfterFunc(ctx, func() { a.draining.Store(true) })
	if a.kernel != nil {
		// Its heartbeat ends with ctx: while the agent drains, new connects that need it are refused.
		g.Go(func() error { return a.kernel.Run(ctx) })
		g.Go(func() error { return a.serveParked(ctx) })
	}
	g.Go(func() error { return a.proxy.Run(ctx) })
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	adminStop()
	return errors.Join(err, adminGroup.Wait(), a.closeKernel())
}

func (a *Agent) closeKernel() error {
	if a.kernel == nil {
		return nil
	}
	err := a.kernel.Close()
	if a.detach.Load() {
		err = errors.Join(err, dataplane.Remove(a.o.Dataplane.PinDir))
	}
	return err
}

// Stop ends Run: with detach everything in the kernel is removed, without it the pins stay in force.
func (a *Agent) Stop(detach bool) {
	if detach {
		a.DetachAtEnd()
	}
	a.stop()
}

// ReopenLogs opens every access log again by its path. It returns at once.
func (a *Agent) ReopenLogs() { a.proxy.ReopenLogs() }

// DetachAtEnd makes Run remove everything from the kernel before it returns.
func (a *Agent) DetachAtEnd() { a.detach.Store(true) }

// serveAdmin opens the admin addresses that the bootstraps name. Envoy exits when it cannot bind its own; a mesh
// that serves is worth more than its statistics page, so here it is an error in the log.
func (a *Agent) serveAdmin(ctx context.Context, server *admin.Server, g *errgroup.Group) {
	for _, sc := range a.config.Scopes {
		if sc.Admin == nil {
			continue
		}
		l, err := net.Listen("tcp", sc.Admin.Address.String())
		if err != nil {
			a.o.Log.Error("admin address of the bootstrap is not served", "file", sc.Source, "err", err)
			continue
		}
		g.Go(func() error { return server.ServeTCP(ctx, l) })
	}
}

// serveParked hands the sockets that the kernel half opened in other namespaces to the proxy.
func (a *Agent) serveParked(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-a.kernel.Parked():
			a.proxy.Serve(p.Scope, p.Listener, p.Socket)
		}
	}
}

// publish takes a source's new scope in place of its old one. Called from the sources' goroutines.
func (a *Agent) publish(s *mesh.Scope) {
	a.mu.Lock()
	scopes := append([]*mesh.Scope(nil), a.config.Scopes...)
	for i := range scopes {
		if scopes[i].Cgroup == s.Cgroup {
			scopes[i] = s
		}
	}
	a.config = &mesh.Config{Scopes: scopes}
	a.mu.Unlock()
	select {
	case a.dirty <- struct{}{}:
	default: // the loop has not taken the last one yet; it will see this one too
	}
}

// Samples implements admin.Agent.
func (a *Agent) Samples() []telemetry.Sample {
	sources := []telemetry.Source{a.proxy, (*ownSamples)(a)}
	if a.kernel != nil {
		sources = append(sources, a.kernel)
	}
	return telemetry.Gather(sources...)
}

// Current implements admin.Agent.
func (a *Agent) Current() (*mesh.Config, *mesh.Hosts, *table.Tables) {
	c := a.inForce()
	return c.config, c.hosts, c.tables
}

// SuccessRates implements admin.Agent.
func (a *Agent) SuccessRates(id mesh.ClusterID) *mesh.SuccessRates { return a.up.SuccessRates(id) }

// Endpoints implements admin.Agent.
func (a *Agent) Endpoints() []telemetry.Endpoint {
	all := a.proxy.Endpoints()
	if a.kernel != nil {
		all = append(all, a.kernel.Endpoints()...)
	}
	return all
}

func (a *Agent) inForce() current {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

func (a *Agent) state() status.State {
	switch {
	case a.draining.Load():
		return status.Draining
	case !a.inForce().live:
		return status.Initializing
	default:
		return status.Live
	}
}
