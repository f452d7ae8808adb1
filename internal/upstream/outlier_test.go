// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// detecting is a cluster of n hosts, which are never out for less than 10 s and of which all may be.
func detecting(n int, change func(*mesh.OutlierDetection)) *mesh.Cluster {
	c := static(make([]mesh.Health, n)...)
	c.Outlier = &mesh.OutlierDetection{Consecutive5xx: 3, ConsecutiveGatewayFailure: 2, ConsecutiveLocalOriginFailure: 2,
		EnforcingConsecutive5xx: 100, EnforcingConsecutiveLocalOriginFailure: 100, EnforcingSuccessRate: 100,
		Interval: time.Second, BaseEjectionTime: 10 * time.Second, MaxEjectionTime: 300 * time.Second, MaxEjectionPercent: 100,
		SuccessRateMinimumHosts: 5, SuccessRateRequestVolume: 100, SuccessRateStdevFactor: 1900,
		FailurePercentageMinimumHosts: 5, FailurePercentageRequestVolume: 50, FailurePercentageThreshold: 85}
	if change != nil {
		change(c.Outlier)
	}
	return c
}

// bench is an Upstream that is not run: the test sweeps.
type bench struct {
	*testing.T
	u   *Upstream
	now time.Time
}

func newBench(t *testing.T, c *mesh.Cluster) *bench {
	t.Helper()
	b := &bench{t, New(Options{Log: slog.New(slog.DiscardHandler)}), time.Now()}
	b.u.Set(config(c))
	return b
}

var benchID = mesh.ClusterID{Scope: "/", Name: "c"}

func (b *bench) host(i int) *Monitor {
	return b.u.Monitor(benchID, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80))
}

func (b *bench) sweepAfter(d time.Duration) {
	b.now = b.now.Add(d)
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	b.u.detectors[benchID].sweep(b.now)
}

// out wants exactly these hosts to be ejected, in what is published and in the gauge.
func (b *bench) out(want ...int) {
	b.Helper()
	var got []int
	for i, h := range b.u.Hosts().Set(benchID).All {
		if h.Flags&mesh.FailedOutlierCheck != 0 {
			got = append(got, i)
		}
	}
	if n := b.u.Ejections()["c"].Active(); !slices.Equal(got, want) || int(n) != len(want) {
		b.Errorf("ejected %v, active %d; want %v", got, n, want)
	}
}

// counters wants exactly these to be not 0.
func (b *bench) counters(want map[string]uint64) {
	b.Helper()
	got := map[string]uint64{}
	b.u.Ejections()["c"].Counters(func(name string, v uint64) {
		if v > 0 {
			got[name] = v
		}
	})
	if !maps.Equal(got, want) {
		b.Errorf("counters %v, want %v", got, want)
	}
}

func TestRowsOfFailures(t *testing.T) {
	b := newBench(t, detecting(4, nil))
	m := b.host(0)
	for range 5 {
		m.Answered(500)
		m.Answered(500)
		m.Answered(404)
	}
	b.out()
	m.Answered(500)
	m.Answered(502) // of one kind the row is shorter than of the other
	b.out()
	m.Answered(503)
	b.out(0)
	b.counters(map[string]uint64{"ejections_detected_consecutive_gateway_failure": 1, "ejections_detected_consecutive_5xx": 1,
		"ejections_enforced_consecutive_5xx": 1, "ejections_enforced_total": 1, "ejections_total": 1, "ejections_consecutive_5xx": 1})
	for range 10 {
		m.Answered(500) // one that is out cannot be ejected
	}
	b.out(0)
	b.host(1).Failed()
	b.host(1).TimedOut()
	b.host(1).Failed()
	b.out(0, 1)
	b.host(2).ConnectedOnly()
	b.host(2).Connected()
	b.out(0, 1)
	var nobody *Monitor
	nobody.Answered(500)
	nobody.Failed()
	nobody.Connected()
}

func TestReturn(t *testing.T) {
	b := newBench(t, detecting(2, func(c *mesh.OutlierDetection) { c.MaxEjectionTime = 25 * time.Second }))
	m := b.host(1)
	fail := func() {
		for range 3 {
			m.Answered(500)
		}
		b.u.mu.Lock()
		m.ejected = b.now
		b.u.mu.Unlock()
		b.out(1)
	}
	// Each time it is out for longer, up to the limit.
	for _, d := range []time.Duration{10 * time.Second, 20 * time.Second, 25 * time.Second, 25 * time.Second} {
		fail()
		m.Answered(500)
		m.Answered(500)
		b.sweepAfter(d - time.Millisecond)
		b.out(1)
		b.sweepAfter(time.Millisecond)
		b.out()
		m.Answered(500) // the row of before does not count
		b.out()
		m.Answered(200)
	}
	// While it does well the next time grows shorter.
	for range 4 {
		b.sweepAfter(time.Second)
	}
	fail()
	b.sweepAfter(9 * time.Second)
	b.out(1)
	b.sweepAfter(time.Second)
	b.out()
}

func TestForEver(t *testing.T) {
	b := newBench(t, detecting(1, func(c *mesh.OutlierDetection) {
		c.BaseEjectionTime, c.MaxEjectionTime, c.MaxEjectionTimeJitter = math.MaxInt64, math.MaxInt64, math.MaxInt64
	}))
	for range 3 {
		b.host(0).Answered(500)
	}
	b.sweepAfter(100 * 365 * 24 * time.Hour)
	b.out(0)
}

func TestJitter(t *testing.T) {
	b := newBench(t, detecting(1, func(c *mesh.OutlierDetection) { c.MaxEjectionTimeJitter = 50 * time.Millisecond }))
	seen := map[time.Duration]bool{}
	m := b.host(0)
	for range 400 {
		m.consecutive[consecutive5xx].Store(2)
		m.Answered(500)
		seen[m.jitter] = true
		b.u.mu.Lock()
		b.u.detectors[benchID].uneject(m, b.now)
		b.u.mu.Unlock()
	}
	if len(seen) < 20 || slices.Max(slices.Collect(maps.Keys(seen))) > 50*time.Millisecond {
		t.Errorf("jitters %v", seen)
	}
}

func TestHowManyMayBeOut(t *testing.T) {
	for _, tc := range []struct {
		hosts   int
		percent uint32
		always  bool
		want    []int
	}{
		{4, 50, false, []int{0, 1}},
		{4, 49, false, []int{0}},
		{4, 10, false, nil},
		{4, 10, true, []int{0}},
		{4, 0, true, []int{0}},
		{4, 50, true, []int{0, 1}},
		{10, 10, false, []int{0}},
	} {
		b := newBench(t, detecting(tc.hosts, func(c *mesh.OutlierDetection) { c.MaxEjectionPercent, c.AlwaysEjectOneHost = tc.percent, tc.always }))
		for i := range tc.hosts {
			for range 3 {
				b.host(i).Answered(500)
			}
		}
		b.out(tc.want...)
		over := uint64(tc.hosts - len(tc.want))
		want := map[string]uint64{"ejections_overflow": over, "ejections_detected_consecutive_5xx": uint64(tc.hosts),
			"ejections_consecutive_5xx": uint64(tc.hosts)}
		if n := uint64(len(tc.want)); n > 0 {
			want["ejections_total"], want["ejections_enforced_total"], want["ejections_enforced_consecutive_5xx"] = n, n, n
		}
		b.counters(want)
	}
}

func TestEnforcing(t *testing.T) {
	b := newBench(t, detecting(1, func(c *mesh.OutlierDetection) { c.EnforcingConsecutive5xx = 30 }))
	m := b.host(0)
	const tries = 2000
	for range tries {
		m.consecutive[consecutive5xx].Store(2)
		m.Answered(500)
		b.u.mu.Lock()
		if m.isOut() {
			b.u.detectors[benchID].uneject(m, b.now)
		}
		b.u.mu.Unlock()
	}
	// 30 % of 2000 with more than five standard deviations to each side
	if n := b.u.Ejections()["c"].enforced[consecutive5xx].Load(); n < 490 || n > 710 {
		t.Errorf("%d of %d ejections at 30 %%", n, tries)
	}
}

func TestSplitLocalOrigin(t *testing.T) {
	b := newBench(t, detecting(5, func(c *mesh.OutlierDetection) { c.SplitLocalOrigin = true }))
	b.host(0).Failed()
	b.host(0).Connected()
	b.host(0).Failed()
	b.host(0).Answered(500)
	b.host(0).Answered(500)
	b.out()
	b.host(0).TimedOut()
	b.out(0)
	for range 3 {
		b.host(1).Answered(500)
	}
	b.out(0, 1)
	b.host(2).Failed()
	b.host(2).ConnectedOnly()
	b.host(2).Failed()
	b.out(0, 1)
}

func TestRates(t *testing.T) {
	local := func(ok bool) func(*Monitor) {
		if ok {
			return (*Monitor).Connected
		}
		return (*Monitor).Failed
	}
	external := func(ok bool) func(*Monitor) {
		if ok {
			return func(m *Monitor) { m.Answered(200) }
		}
		return func(m *Monitor) { m.Answered(500) }
	}
	for name, tc := range map[string]struct {
		say    func(ok bool) func(*Monitor)
		well   []int // of 100 of each host
		change func(*mesh.OutlierDetection)
		want   []int
		kind   string
	}{
		"as Envoy's example": {external, []int{50, 100, 100, 100, 100}, nil, []int{0}, "success_rate"}, // mean 90, deviation 20
		"a larger factor":    {external, []int{50, 100, 100, 100, 100}, func(c *mesh.OutlierDetection) { c.SuccessRateStdevFactor = 2000 }, nil, ""},
		"too few hosts":      {external, []int{50, 100, 100, 100}, nil, nil, ""},
		"too few requests":   {external, []int{50, 100, 100, 100, 100}, func(c *mesh.OutlierDetection) { c.SuccessRateRequestVolume = 101 }, nil, ""},
		"nobody is enforced": {external, []int{50, 100, 100, 100, 100}, func(c *mesh.OutlierDetection) { c.EnforcingSuccessRate = 0 }, nil, "success_rate"},
		"percentage":         {external, []int{15, 16, 100, 15, 14}, percentage, []int{0, 3, 4}, "failure_percentage"},
		"a lower threshold":  {external, []int{50, 51, 100, 100, 100}, func(c *mesh.OutlierDetection) { percentage(c); c.FailurePercentageThreshold = 50 }, []int{0}, "failure_percentage"},
		"fewer hosts":        {external, []int{0, 100}, func(c *mesh.OutlierDetection) { percentage(c); c.FailurePercentageMinimumHosts = 2 }, []int{0}, "failure_percentage"},
		"percentage of few": {external, []int{0, 100, 100, 100, 100}, func(c *mesh.OutlierDetection) {
			percentage(c)
			c.FailurePercentageRequestVolume, c.SuccessRateRequestVolume = 101, 101
		}, nil, ""},
		"local rate": {local, []int{50, 100, 100, 100, 100}, split, []int{0}, "local_origin_success_rate"},
		"local percentage": {local, []int{10, 100, 100, 100, 100}, func(c *mesh.OutlierDetection) {
			split(c)
			c.EnforcingLocalOriginSuccessRate = 0
			c.EnforcingFailurePercentageLocalOrigin = 100
		}, []int{0}, "local_origin_failure_percentage"},
		"of local origin, unsplit": {local, []int{0, 0, 0, 0, 0}, percentage, []int{0, 1, 2, 3, 4}, "failure_percentage"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, detecting(len(tc.well), func(c *mesh.OutlierDetection) {
				c.Consecutive5xx, c.ConsecutiveGatewayFailure, c.ConsecutiveLocalOriginFailure = 0, 0, 0
				if tc.change != nil {
					tc.change(c)
				}
			}))
			for i, well := range tc.well {
				for n := range 100 {
					tc.say(n < well)(b.host(i))
				}
			}
			b.out()
			b.sweepAfter(time.Second)
			b.out(tc.want...)
			e := b.u.Ejections()["c"]
			for k := range kinds {
				if detected := e.detected[k].Load(); kinds[k].name == tc.kind && detected == 0 || kinds[k].name != tc.kind && tc.kind == "" && detected > 0 {
					t.Errorf("%s detected %d times", kinds[k].name, detected)
				}
				if n := e.enforced[k].Load(); kinds[k].name == tc.kind && int(n) != len(tc.want) {
					t.Errorf("%s enforced %d times", kinds[k].name, n)
				}
			}
			b.sweepAfter(time.Second) // an interval without requests
			b.out(tc.want...)
		})
	}
}

func percentage(c *mesh.OutlierDetection) {
	c.EnforcingSuccessRate, c.EnforcingFailurePercentage = 0, 100
}

func split(c *mesh.OutlierDetection) {
	c.SplitLocalOrigin, c.EnforcingLocalOriginSuccessRate = true, 100
}

func TestWhatEndsWithTheConfiguration(t *testing.T) {
	c := detecting(3, nil)
	b := newBench(t, c)
	for i := range 2 {
		for range 3 {
			b.host(i).Answered(500)
		}
	}
	b.out(0, 1)
	stale := b.host(2)
	fewer := *c
	fewer.Endpoints = &mesh.Endpoints{Overprovisioning: 140, Endpoints: c.Endpoints.Endpoints[1:]}
	b.u.Set(config(&fewer)) // endpoints by EDS: who stays keeps what is known of it
	b.out(0)
	b.u.Set(config(c))
	b.out(1)
	anew := detecting(3, nil)
	b.u.Set(config(anew))
	b.out()
	for range 3 {
		stale.Answered(500)
	}
	b.out()
	for range 3 {
		b.host(0).Answered(500)
	}
	b.out(0)
	b.u.Set(config())
	if n := b.u.Ejections()["c"].Active(); n != 0 || b.host(0) != nil {
		t.Errorf("%d are ejected of a cluster that has gone", n)
	}
}

func TestSweepsRun(t *testing.T) {
	c := detecting(2, func(c *mesh.OutlierDetection) {
		c.Interval, c.BaseEjectionTime = 10*time.Millisecond, 20*time.Millisecond
	})
	u, want := follow(t, Options{}, c)
	for range 3 {
		u.Monitor(benchID, netip.MustParseAddrPort("10.0.0.1:80")).Answered(500)
	}
	poll(t, func() bool {
		return u.Ejections()["c"].enforced[consecutive5xx].Load() == 1
	})
	want("10.0.0.1:80 10.0.0.2:80")
}

// Reports, sweeps and new configurations come from all sides; what is published and what is counted must agree at the end.
func TestManyAtOnce(t *testing.T) {
	c := detecting(8, func(c *mesh.OutlierDetection) {
		c.Interval, c.BaseEjectionTime, c.MaxEjectionPercent = time.Millisecond, time.Millisecond, 50
	})
	fewer := *c
	fewer.Endpoints = &mesh.Endpoints{Overprovisioning: 140, Endpoints: c.Endpoints.Endpoints[2:]}
	u, _ := follow(t, Options{}, c)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			host := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)
			for n := range 2000 {
				m := u.Monitor(benchID, host)
				m.Answered(500)
				m.Failed()
				if n%7 == 0 {
					m.Answered(200)
				}
			}
		})
	}
	all.Go(func() {
		for i := range 50 {
			if i%2 == 0 {
				u.Set(config(&fewer))
			} else {
				u.Set(config(c))
			}
			time.Sleep(time.Millisecond)
		}
	})
	all.Wait()
	poll(t, func() bool { // all come back
		out := 0
		for _, h := range u.Hosts().Set(benchID).All {
			if h.Flags != 0 {
				out++
			}
		}
		return out == 0 && u.Ejections()["c"].Active() == 0
	})
	if u.Ejections()["c"].enforced[consecutive5xx].Load() == 0 {
		t.Error("nobody was ejected")
	}
}
