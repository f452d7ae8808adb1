// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"

	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/telemetry"
)

// Status implements admin.Agent.
func (a *Agent) Status() status.Status {
	c := a.inForce()
	st := status.Status{
		Version: a.o.Version, PID: os.Getpid(), Since: a.since, State: a.state(), Tier: string(a.o.Tier),
		Scopes: []status.Scope{}, Listeners: []status.Listener{}, Problems: []status.Problem{},
	}
	if c.config != nil {
		for _, sc := range c.config.Scopes {
			st.Scopes = append(st.Scopes, status.Scope{Cgroup: sc.Cgroup, Source: sc.Source, NodeID: sc.Node.ID})
			for _, p := range sc.Problems {
				st.Problems = append(st.Problems, status.FromProblem(sc.Cgroup, p))
			}
		}
	}
	for _, err := range c.bindErrors {
		st.Problems = append(st.Problems, status.Problem{Severity: "refused", Message: err.Error()})
	}
	if c.tables != nil {
		st.Listeners = listenerStatus(c.tables)
	}
	st.Kernel = a.kernelStatus(c.lastError)
	return st
}

func listenerStatus(t *table.Tables) []status.Listener {
	cgroups := map[uint32]string{}
	for _, s := range t.Scopes {
		cgroups[s.ID] = s.Cgroup
	}
	type key struct{ scope, listener string }
	why := map[key]string{}
	for _, r := range t.Reasons {
		if r.Route == "" && r.Chain == "" {
			why[key{r.Scope, r.Listener}] = r.Why
		}
	}
	all := make([]status.Listener, 0, len(t.Listeners))
	for _, l := range t.Listeners {
		scope := cgroups[l.Scope]
		all = append(all, status.Listener{Scope: scope, Name: l.Name, Address: l.Address.String(),
			Bound: l.Bound, Tier: string(l.Tier), Why: why[key{scope, l.Name}], Error: l.Tombstone})
	}
	return all
}

func (a *Agent) kernelStatus(lastError string) status.Kernel {
	if a.kernel == nil {
		return status.Kernel{Off: a.kernelOff}
	}
	k := a.kernel.Status()
	k.LastError = lastError
	return k
}

// ownSamples are the statistics of the agent itself.
type ownSamples Agent

// Collect implements telemetry.Source.
func (o *ownSamples) Collect(emit func(telemetry.Sample)) {
	a := (*Agent)(o)
	c := a.inForce()
	gauge := func(name string, v uint64) {
		emit(telemetry.Sample{Name: name, Base: name, Kind: telemetry.Gauge, Value: v})
	}
	live := uint64(0)
	switch a.state() {
	case status.Draining:
		live = 1
	case status.Initializing:
		live = 3 // Envoy's ServerInfo.State: LIVE 0, DRAINING 1, PRE_INITIALIZING 2, INITIALIZING 3
	}
	gauge("server.state", live)
	bySeverity := map[string]uint64{"skipped": 0, "refused": uint64(len(c.bindErrors)), "rejected": 0}
	if c.config != nil {
		var clusters, listeners uint64
		for _, sc := range c.config.Scopes {
			clusters += uint64(len(sc.Clusters))
			listeners += uint64(len(sc.Listeners))
			for _, p := range sc.Problems {
				bySeverity[p.Severity.String()]++
			}
		}
		gauge("cluster_manager.active_clusters", clusters)
		gauge("listener_manager.total_listeners_active", listeners)
	}
	for s, n := range bySeverity {
		emit(telemetry.Sample{Name: "leno.config_problems." + s, Base: "leno.config_problems",
			Labels: []telemetry.Label{{Key: "severity", Value: s}}, Kind: telemetry.Gauge, Value: n})
	}
	failed := uint64(0)
	if c.lastError != "" {
		failed = 1
	}
	gauge("leno.kernel_apply_failed", failed)
}
