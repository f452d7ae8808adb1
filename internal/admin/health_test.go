// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"strings"
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/status"
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

func TestSuccessRates(t *testing.T) {
	tcp, _ := start(t, &fakeAgent{state: status.Live})
	for path, all := range map[string][]string{
		"/clusters": {"blue::outlier::success_rate_average::66.6667\n", "blue::outlier::success_rate_ejection_threshold::-1\n",
			"blue::outlier::local_origin_success_rate_average::100\n", "blue::outlier::local_origin_success_rate_ejection_threshold::99.5\n",
			"blue::10.0.0.1:80::success_rate::66.66666666666667\n", "blue::10.0.0.1:80::local_origin_success_rate::-1\n"},
		"/clusters?format=json": {`"success_rate": {`, `"value": 66.66666666666667`, `"local_origin_success_rate_ejection_threshold": {`},
	} {
		_, body := tcp("GET", path, "localhost")
		for _, want := range all {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q in\n%s", path, want, body)
			}
		}
		if strings.Contains(body, `"local_origin_success_rate": `) || strings.Contains(body, `"success_rate_ejection_threshold": `) {
			t.Errorf("%s shows what is not known:\n%s", path, body)
		}
	}
}
