// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"io"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
)

// flagNames are the words of /clusters for what was found at run time, and the fields of admin.v3.HostHealthStatus.
var flagNames = [...]struct {
	flag        mesh.Flags
	text, field string
}{
	{mesh.FailedActiveCheck, "/failed_active_hc", "failed_active_health_check"},
	{mesh.FailedOutlierCheck, "/failed_outlier_check", "failed_outlier_check"},
	{mesh.DegradedActiveCheck, "/degraded_active_hc", "failed_active_degraded_check"},
	{mesh.PendingRemoval, "/pending_dynamic_removal", "pending_dynamic_removal"},
	{mesh.PendingActiveCheck, "/pending_active_hc", "pending_active_hc"},
	{mesh.ExcludedByActiveCheck, "/excluded_via_immediate_hc_fail", "excluded_via_immediate_hc_fail"},
	{mesh.ActiveCheckTimeout, "/active_hc_timeout", "active_hc_timeout"},
}

// healthFlags writes a host's health as Envoy does (host_utility.cc), in its order.
func healthFlags(h *mesh.Host) string {
	var b strings.Builder
	for i, f := range flagNames {
		if i == 2 && h.Health == mesh.Unhealthy {
			b.WriteString("/failed_eds_health")
		}
		if i == 3 && h.Health == mesh.Degraded {
			b.WriteString("/degraded_eds_health")
		}
		if h.Flags&f.flag != 0 {
			b.WriteString(f.text)
		}
	}
	if h.Health == mesh.Draining {
		b.WriteString("/eds_status_draining")
	}
	if b.Len() == 0 {
		return "healthy"
	}
	return b.String()
}

// healthStatus is admin.v3.HostHealthStatus.
func healthStatus(h *mesh.Host) map[string]any {
	m := map[string]any{"eds_health_status": map[mesh.Health]string{mesh.Healthy: "HEALTHY", mesh.Unhealthy: "UNHEALTHY",
		mesh.Degraded: "DEGRADED", mesh.Draining: "DRAINING"}[h.Health]}
	for _, f := range flagNames {
		if h.Flags&f.flag != 0 {
			m[f.field] = true
		}
	}
	return m
}

// outlierText writes what outlier detection compares hosts with; nil: the cluster has none.
func outlierText(w io.Writer, cluster string, r *mesh.SuccessRates) {
	if r == nil {
		return
	}
	for _, row := range []struct {
		name  string
		value float64
	}{
		{"success_rate_average", r.Average}, {"success_rate_ejection_threshold", r.Threshold},
		{"local_origin_success_rate_average", r.LocalAverage}, {"local_origin_success_rate_ejection_threshold", r.LocalThreshold},
	} {
		fmt.Fprintf(w, "%s::outlier::%s::%.6g\n", cluster, row.name, row.value)
	}
}

// hostRates are -1 where nothing is known.
func hostRates(r *mesh.SuccessRates, h *mesh.Host) mesh.HostRates {
	if r != nil {
		if found, ok := r.Hosts[h.Address]; ok {
			return found
		}
	}
	return mesh.HostRates{Rate: -1, Local: -1}
}

// percent adds a type.v3.Percent, if there is one.
func percent(to map[string]any, field string, value float64) {
	if value >= 0 {
		to[field] = map[string]any{"value": value}
	}
}
