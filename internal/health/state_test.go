// SPDX-License-Identifier: Apache-2.0

package health

import (
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

const (
	down  = mesh.FailedActiveCheck
	late  = mesh.ActiveCheckTimeout
	worse = mesh.DegradedActiveCheck
)

func TestState(t *testing.T) {
	type step struct {
		result result
		want   transition
		flags  mesh.Flags
	}
	for name, c := range map[string]struct {
		from  mesh.Flags
		steps []step
	}{
		"the first good result is enough": {down, []step{{passed, changed, 0}, {passed, unchanged, 0}}},
		"the first bad one changes nothing": {down, []step{{network, unchanged, down}, {passed, pending, down}, {passed, pending, down},
			{passed, changed, 0}}},
		"good results must come in a row": {down, []step{{failed, unchanged, down}, {passed, pending, down}, {passed, pending, down},
			{failed, unchanged, down}, {passed, pending, down}, {passed, pending, down}, {passed, changed, 0}}},
		"a bad answer counts at once":    {down, []step{{passed, changed, 0}, {failed, changed, down}}},
		"what the server says of itself": {down, []step{{passed, changed, 0}, {passive, changed, down}, {passive, unchanged, down}}},
		"no answer counts by its threshold": {down, []step{{passed, changed, 0}, {network, pending, 0}, {network, changed, down},
			{network, unchanged, down}}},
		"bad results must come in a row": {down, []step{{passed, changed, 0}, {network, pending, 0}, {passed, unchanged, 0},
			{retriable, pending, 0}, {timeout, changed, down | late}}},
		"why it fails can change": {down, []step{{timeout, unchanged, down | late}, {network, unchanged, down},
			{timeout, unchanged, down | late}, {passed, pending, down | late}}},
		"a forgiven timeout is no flag": {down, []step{{passed, changed, 0}, {timeout, pending, 0}}},
		"not at its best": {down, []step{{degraded, changed, worse}, {degraded, unchanged, worse}, {failed, changed, down | worse},
			{passed, pending, down}, {degraded, pending, down | worse}, {passed, changed, 0}}},
		"not known before": {down | mesh.PendingActiveCheck, []step{{failed, changed, down}, {failed, unchanged, down}}},
		"left out until it is well": {down | mesh.ExcludedByActiveCheck, []step{{failed, unchanged, down | mesh.ExcludedByActiveCheck},
			{passed, pending, down | mesh.ExcludedByActiveCheck}, {passed, pending, down | mesh.ExcludedByActiveCheck}, {passed, changed, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := state{config: &mesh.HealthCheck{UnhealthyThreshold: 2, HealthyThreshold: 3}, flags: c.from}
			for i, st := range c.steps {
				if got := s.take(st.result); got != st.want || s.flags != st.flags {
					t.Fatalf("step %d: transition %d, flags %b; want %d, %b", i, got, s.flags, st.want, st.flags)
				}
			}
		})
	}
}

func TestWait(t *testing.T) {
	c := &mesh.HealthCheck{Interval: 1, UnhealthyInterval: 2, UnhealthyEdgeInterval: 3, HealthyEdgeInterval: 4, NoTrafficInterval: 5, NoTrafficHealthyInterval: 6}
	for _, d := range []*time.Duration{&c.Interval, &c.UnhealthyInterval, &c.UnhealthyEdgeInterval, &c.HealthyEdgeInterval, &c.NoTrafficInterval, &c.NoTrafficHealthyInterval} {
		*d *= time.Second
	}
	for _, x := range []struct {
		well    bool
		t       transition
		traffic bool
		want    time.Duration
	}{
		{true, unchanged, true, 1}, {true, changed, true, 1}, {true, pending, true, 4},
		{false, unchanged, true, 2}, {false, changed, true, 2}, {false, pending, true, 3},
		{true, unchanged, false, 6}, {true, changed, false, 6}, {true, pending, false, 5},
		{false, unchanged, false, 5}, {false, pending, false, 5},
	} {
		if got := wait(c, x.well, x.t, x.traffic); got != x.want*time.Second {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func TestJitter(t *testing.T) {
	var percent, fixed time.Duration
	for range 1000 {
		d := jitter(10*time.Second, 10, 0)
		if d < 10*time.Second || d >= 11*time.Second {
			t.Fatalf("10 s and 10 %% of it: %v", d)
		}
		percent = max(percent, d)
		d = jitter(0, 10, time.Second)
		if d < time.Millisecond || d >= time.Second {
			t.Fatalf("up to 1 s: %v", d)
		}
		fixed = max(fixed, d)
	}
	if percent == 10*time.Second || fixed == time.Millisecond {
		t.Error("nothing was added")
	}
}
