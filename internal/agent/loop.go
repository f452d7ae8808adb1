// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
)

// retryAfter is how soon tables that the kernel did not take, and addresses that could not be bound (at boot, before the
// network is up), are tried again.
const retryAfter = time.Second

// loop is the only place that compiles and applies. Its input is latest-wins: a burst of changes costs one round.
func (a *Agent) loop(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.dirty:
		case <-a.up.Changed():
		case <-retry.C:
		}
		if !a.round() {
			retry.Reset(retryAfter)
		}
	}
}

// round brings the newest configuration and hosts into force and reports whether all of it is.
func (a *Agent) round() bool {
	a.mu.Lock()
	next := current{config: a.config, tables: a.current.tables, bindErrors: a.current.bindErrors}
	a.mu.Unlock()
	a.up.Set(next.config)
	next.hosts = a.up.Hosts()
	err := a.compile(&next)
	if err == nil {
		// First the agent's own sockets, then the kernel that may send connections to them.
		next.bindErrors = a.proxy.Update(next.config, next.hosts)
		if a.kernel != nil {
			err = a.kernel.Apply(next.tables)
		}
	}
	if err != nil {
		next.lastError = err.Error()
	}
	a.mu.Lock()
	before := a.current
	next.live = before.live || err == nil && !next.warming()
	a.current = next
	a.mu.Unlock()
	a.report(before, next)
	return err == nil && len(next.bindErrors) == 0
}

// warming says that nothing is known yet of a name that a cluster stands on. Envoy, too, is not ready before. Endpoints that a
// file doesn't have are not waited for.
func (c *current) warming() bool {
	for _, sc := range c.config.Scopes {
		for _, cl := range sc.Clusters {
			set := c.hosts.Sets[mesh.ClusterID{Scope: sc.Cgroup, Name: cl.Name}]
			if cl.Endpoints != nil && set != nil && !set.Ready {
				return true
			}
		}
	}
	return false
}

// compile replaces next.tables by those for next's configuration and hosts.
func (a *Agent) compile(next *current) error {
	in := table.Input{Config: next.config, Hosts: next.hosts, Mode: a.o.Tier}
	prev := next.tables
	if a.kernel != nil {
		in.Busy = a.kernel.Busy()
		if prev == nil {
			var err error
			if prev, err = a.kernel.Recovered(next.config); err != nil {
				return err
			}
		}
	}
	tables, err := table.Compile(prev, in)
	if err != nil {
		return err
	}
	if a.kernel != nil {
		if err := a.kernel.Reserve(tables); err != nil {
			return err // next keeps the tables of before, and with them their ids
		}
	}
	next.tables = tables
	return nil
}

// report logs what a round changed for the worse or the better.
func (a *Agent) report(before, now current) {
	log := a.o.Log
	if now.lastError != before.lastError {
		if now.lastError != "" {
			log.Error("the kernel half keeps its last tables", "err", now.lastError)
		} else {
			log.Info("the kernel half took the tables")
		}
	}
	seen := map[string]bool{}
	for _, err := range before.bindErrors {
		seen[err.Error()] = true
	}
	for _, err := range now.bindErrors {
		if !seen[err.Error()] {
			log.Error("listener is not bound", "err", err)
		}
	}
	if now.live && !before.live {
		log.Info("configuration is in force", "scopes", len(now.config.Scopes), "listeners", len(now.tables.Listeners))
		if err := notifyReady(); err != nil {
			log.Error("the service manager is not told that leno is ready", "err", err)
		}
	}
	if before.config == now.config {
		return
	}
	for _, sc := range now.config.Scopes {
		for _, p := range sc.Problems {
			log.Warn("configuration", "severity", p.Severity, "file", p.File, "line", p.Line,
				"resource", p.Resource, "field", p.Field, "problem", p.Message)
		}
	}
}
