// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
)

func TestHealthFlags(t *testing.T) {
	for want, h := range map[string]mesh.Host{
		"healthy":               {},
		"/failed_outlier_check": {Flags: mesh.FailedOutlierCheck},
		"/failed_outlier_check/failed_eds_health": {Flags: mesh.FailedOutlierCheck, Health: mesh.Unhealthy},
		"/degraded_active_hc/degraded_eds_health": {Flags: mesh.DegradedActiveCheck, Health: mesh.Degraded},
		"/pending_active_hc/eds_status_draining":  {Flags: mesh.PendingActiveCheck, Health: mesh.Draining},
		"/failed_active_hc/active_hc_timeout":     {Flags: mesh.FailedActiveCheck | mesh.ActiveCheckTimeout},
		"/degraded_eds_health/pending_active_hc":  {Flags: mesh.PendingActiveCheck, Health: mesh.Degraded},
		"/failed_eds_health/degraded_active_hc":   {Flags: mesh.DegradedActiveCheck, Health: mesh.Unhealthy},
		"/failed_active_hc/failed_outlier_check":  {Flags: mesh.FailedActiveCheck | mesh.FailedOutlierCheck},
		"/excluded_via_immediate_hc_fail":         {Flags: mesh.ExcludedByActiveCheck},
	} {
		if got := healthFlags(&h); got != want {
			t.Errorf("%+v: %s, want %s", h, got, want)
		}
	}
	if got := healthStatus(&mesh.Host{Flags: mesh.FailedOutlierCheck}); got["failed_outlier_check"] != true || got["eds_health_status"] != "HEALTHY" {
		t.Errorf("%v", got)
	}
}
