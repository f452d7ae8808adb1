// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leno-mesh/leno/internal/agent"
	"github.com/leno-mesh/leno/internal/dataplane"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/xds"
)

// runFlags are the flags of `leno run`. Those that Envoy has keep Envoy's names.
type runFlags struct {
	config, cgroup                      string
	scopes                              []string
	tier, mode, logLevel                string
	serviceNode, serviceCluster         string
	concurrency                         int
	drainSeconds                        int
	pinDir, stateDir                    string
	maxListeners, maxClusters, maxHosts uint32
	maxFlows, maxParked                 uint32
	flushMs, flushKiB                   int
}

func newRunCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the agent on an Envoy bootstrap file",
		Long: `Run the agent on an Envoy v3 bootstrap file (YAML or JSON).

SIGTERM drains what the agent carries and leaves the kernel half in force, so that the next start takes over
without a gap. Ctrl-C and "leno down" remove everything.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return run(c.Context(), c.OutOrStdout(), f) },
	}
	fs := c.Flags()
	fs.StringVarP(&f.config, "config-path", "c", "", "Envoy bootstrap file, YAML or JSON")
	fs.StringVar(&f.cgroup, "cgroup", "/", "manage only this cgroup (path below the cgroup2 mount)")
	fs.StringArrayVar(&f.scopes, "scope", nil, "CGROUP=FILE: another cgroup with a configuration of its own; repeatable, the innermost cgroup wins")
	fs.StringVar(&f.tier, "tier", "auto", "auto, socket (refuse what the kernel cannot carry) or proxy (carry everything in the agent)")
	fs.StringVar(&f.mode, "mode", "serve", "serve, or validate: check the configuration and exit")
	fs.StringVarP(&f.logLevel, "log-level", "l", "info", "trace, debug, info, warning, error, critical or off")
	fs.StringVar(&f.serviceNode, "service-node", "", "replaces node.id")
	fs.StringVar(&f.serviceCluster, "service-cluster", "", "replaces node.cluster")
	fs.IntVar(&f.concurrency, "concurrency", 0, "processors that the agent may use; 0: all")
	fs.IntVar(&f.drainSeconds, "drain-time-s", 600, "how long a stopping agent waits for what it carries")
	fs.IntVar(&f.flushMs, "file-flush-interval-msec", 10_000, "how long a line of an access log may stay in memory, in milliseconds")
	fs.IntVar(&f.flushKiB, "file-flush-min-size-kb", 64, "how much of an access log is written without waiting for that, in KiB")
	fs.StringVar(&f.pinDir, "pin-dir", dataplane.DefaultPinDir, "where the kernel half is pinned")
	fs.StringVar(&f.stateDir, "state-dir", agent.DefaultStateDir, "folder of the admin socket")
	fs.Uint32Var(&f.maxListeners, "max-listeners", 0, "size of the kernel's listener maps; 0: the default")
	fs.Uint32Var(&f.maxClusters, "max-clusters", 0, "size of the kernel's cluster maps; 0: the default")
	fs.Uint32Var(&f.maxHosts, "max-endpoints", 0, "size of the kernel's endpoint maps; 0: the default")
	fs.Uint32Var(&f.maxFlows, "max-flows", 0, "size of the kernel's map of counters; 0: the default")
	fs.Uint32Var(&f.maxParked, "max-parked", 0, "how many agent sockets (namespaces x listeners that need the agent) the kernel knows; 0: the default")
	return c
}

func run(ctx context.Context, out io.Writer, f runFlags) error {
	scopes, err := f.scopeList()
	if err != nil {
		return err
	}
	if f.mode == "validate" {
		return check(out, scopes, "text")
	} else if f.mode != "serve" {
		return fmt.Errorf("--mode %q: must be serve or validate", f.mode)
	}
	tier, err := table.ParseMode(f.tier)
	if err != nil {
		return fmt.Errorf("--tier: %w", err)
	}
	log, err := newLogger(f.logLevel)
	if err != nil {
		return err
	}
	if f.flushMs < 1 || f.flushKiB < 1 {
		return errors.New("--file-flush-interval-msec and --file-flush-min-size-kb must be at least 1")
	}
	if f.concurrency > 0 {
		runtime.GOMAXPROCS(f.concurrency)
	}
	// From here on signals belong to the agent: what follows may attach to the kernel.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	a, err := agent.New(agent.Options{
		Scopes: scopes, Tier: tier, Version: versionString(),
		ServiceNode: f.serviceNode, ServiceCluster: f.serviceCluster,
		StateDir: f.stateDir, DrainTime: time.Duration(f.drainSeconds) * time.Second, Log: log,
		LogFlushInterval: time.Duration(f.flushMs) * time.Millisecond, LogFlushSize: f.flushKiB << 10,
		Dataplane: dataplane.Options{PinDir: f.pinDir, MaxListeners: f.maxListeners,
			MaxClusters: f.maxClusters, MaxEndpoints: f.maxHosts, MaxFlows: f.maxFlows, MaxParked: f.maxParked},
	})
	var invalid *xds.Invalid
	if errors.As(err, &invalid) {
		printProblems(os.Stderr, invalid.Problems)
		return exitCode(1)
	} else if err != nil {
		return err
	}
	reopen := make(chan os.Signal, 1)
	signal.Notify(reopen, syscall.SIGUSR1)
	go func() {
		for range reopen {
			a.ReopenLogs()
		}
	}()
	return a.Run(withSignals(ctx, signals, a))
}

// withSignals ends ctx at a signal: Ctrl-C detaches, SIGTERM leaves the kernel half in force. A second signal exits at once.
func withSignals(ctx context.Context, signals <-chan os.Signal, a *agent.Agent) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		if <-signals == os.Interrupt {
			a.DetachAtEnd()
		}
		cancel()
		<-signals
		os.Exit(1)
	}()
	return ctx
}

func (f *runFlags) scopeList() ([]agent.Scope, error) {
	var list []agent.Scope
	if f.config != "" {
		list = append(list, agent.Scope{Cgroup: cleanCgroup(f.cgroup), Path: f.config})
	}
	for _, s := range f.scopes {
		cgroup, path, ok := strings.Cut(s, "=")
		if !ok || cgroup == "" || path == "" {
			return nil, fmt.Errorf("--scope %q: must be CGROUP=FILE", s)
		}
		list = append(list, agent.Scope{Cgroup: cleanCgroup(cgroup), Path: path})
	}
	if list == nil {
		return nil, errors.New("no configuration: give an Envoy bootstrap file with -c FILE")
	}
	seen := map[string]bool{}
	for _, s := range list {
		if seen[s.Cgroup] {
			return nil, fmt.Errorf("cgroup %s has two configurations: one scope takes one file", s.Cgroup)
		}
		seen[s.Cgroup] = true
	}
	return list, nil
}

// newLogger understands Envoy's level names.
func newLogger(level string) (*slog.Logger, error) {
	levels := map[string]slog.Level{"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo,
		"warning": slog.LevelWarn, "warn": slog.LevelWarn, "error": slog.LevelError,
		"critical": slog.LevelError + 4, "off": slog.LevelError + 100}
	l, ok := levels[level]
	if !ok {
		return nil, fmt.Errorf("--log-level %q: must be trace, debug, info, warning, error, critical or off", level)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}
