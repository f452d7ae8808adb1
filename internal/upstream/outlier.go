// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// detector ejects hosts of one cluster and brings them back (Envoy: outlier_detection_impl.cc). Its state is guarded by
// Upstream.mu.
type detector struct {
	up     *Upstream
	id     mesh.ClusterID
	config *mesh.OutlierDetection
	stats  *Ejections
	seen   *mesh.HostSet
	hosts  []*Monitor // of the members, in their order
	by     map[netip.AddrPort]*Monitor
	out    int        // how many are ejected
	found  [2]finding // of the last sweep: of answers, of local origin
	stop   context.CancelFunc
}

// finding is the mean rate and what it is compared with, in percent; -1: too little was known.
type finding struct{ average, threshold float64 }

var nothing = finding{-1, -1}

// endDetectors ends those whose cluster has gone or is configured anew, before members are looked at: then its hosts are new, too.
func (u *Upstream) endDetectors() {
	want := map[mesh.ClusterID]*mesh.OutlierDetection{}
	for _, sc := range u.cfg.Scopes {
		for _, c := range sc.Clusters {
			want[mesh.ClusterID{Scope: sc.Cgroup, Name: c.Name}] = c.Outlier
		}
	}
	for id, d := range u.detectors {
		if want[id] != d.config {
			d.members(&mesh.HostSet{})
			if d.stop != nil {
				d.stop()
			}
			delete(u.detectors, id)
		}
	}
}

// watchMembers makes detectors that are missing, and lets all of them know their hosts.
func (u *Upstream) watchMembers() {
	for id, b := range u.built {
		if b.cluster.Outlier == nil {
			continue
		}
		d := u.detectors[id]
		if d == nil {
			d = &detector{up: u, id: id, config: b.cluster.Outlier, stats: u.ejectionsOf(b.cluster.StatName()), found: [2]finding{nothing, nothing}}
			u.detectors[id] = d
		}
		if d.seen != b.set {
			d.members(b.set)
		}
	}
}

// members takes the hosts that there are now. Those that were ejected and have left are out no more.
func (d *detector) members(set *mesh.HostSet) {
	old := d.by
	d.seen, d.hosts, d.by = set, make([]*Monitor, 0, len(set.All)), make(map[netip.AddrPort]*Monitor, len(set.All))
	for _, h := range set.All {
		m := old[h.Address]
		if m == nil || !sameHost(m.host, h) {
			m = &Monitor{up: d.up, detector: d, key: hostKey{d.id, h.Address}, host: h}
			m.external.found, m.local.found = -1, -1
		}
		d.hosts, d.by[h.Address] = append(d.hosts, m), m
	}
	for a, m := range old {
		if d.by[a] != m && m.isOut() {
			d.count(-1)
			delete(d.up.marks, m.key)
		}
	}
}

func (d *detector) count(n int) {
	d.out += n
	d.stats.active.Add(int64(n))
}

func (m *Monitor) isOut() bool { return m.up.marks[m.key]&mesh.FailedOutlierCheck != 0 }

// reconcileDetectors starts the sweeps of detectors that have none. Called with mu held.
func (u *Upstream) reconcileDetectors(ctx context.Context, running *sync.WaitGroup) {
	for _, d := range u.detectors {
		if d.stop == nil {
			var own context.Context
			own, d.stop = context.WithCancel(ctx)
			running.Go(func() { d.run(own) })
		}
	}
}

// run sweeps again and again.
func (d *detector) run(ctx context.Context) {
	t := time.NewTimer(d.config.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			d.up.mu.Lock()
			if ctx.Err() == nil {
				d.sweep(time.Now())
			}
			d.up.mu.Unlock()
			t.Reset(d.config.Interval)
		}
	}
}

// consecutive is told of a row of failures that has reached its limit.
func (u *Upstream) consecutive(m *Monitor, k kind) {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := m.detector
	if u.detectors[d.id] != d || d.by[m.key.host] != m || m.isOut() {
		return
	}
	d.eject(m, k, time.Now())
	m.consecutive[k].Store(0)
}

// eject takes a host out, if it may be.
func (d *detector) eject(m *Monitor, k kind, now time.Time) {
	d.stats.detect(k)
	c := d.config
	may := 100*float64(d.out+1)/float64(len(d.hosts)) <= float64(min(c.MaxEjectionPercent, 100))
	if !may && !(c.AlwaysEjectOneHost && d.out == 0) {
		d.stats.overflow.Add(1)
		return
	}
	d.stats.allow(k)
	if rand.Uint32N(100) >= kinds[k].enforcing(c) {
		return
	}
	d.count(1)
	d.stats.enforce(k)
	m.ejected = now
	m.jitter = time.Duration(rand.Int64N(c.MaxEjectionTimeJitter.Milliseconds()+1)) * time.Millisecond
	if float64(m.backOff)*float64(c.BaseEjectionTime) < float64(c.MaxEjectionTime)+float64(c.BaseEjectionTime) {
		m.backOff++
	}
	d.up.o.Log.Info("host is ejected", "cluster", d.id.Name, "host", m.key.host, "why", kinds[k].name)
	d.up.mark(m.key, mesh.FailedOutlierCheck, 0)
}

// outFor is how long the host is out, in nanoseconds: settings that mean "for ever" do not fit a time.Duration.
func (m *Monitor) outFor() float64 {
	c := m.detector.config
	return min(float64(m.backOff)*float64(c.BaseEjectionTime), float64(c.MaxEjectionTime)) + float64(m.jitter)
}

// uneject brings a host back. A row of failures from before would eject it again too soon.
func (d *detector) uneject(m *Monitor, now time.Time) {
	d.count(-1)
	for k := range m.consecutive {
		m.consecutive[k].Store(0)
	}
	m.returned = now
	d.up.o.Log.Info("ejected host is back", "cluster", d.id.Name, "host", m.key.host)
	d.up.mark(m.key, 0, mesh.FailedOutlierCheck)
}

// checked is told of a host that passes its health checks: that brings it back, if it may (Envoy: DetectorImpl::initialize).
func (d *detector) checked(k hostKey, now time.Time) {
	if m := d.by[k.host]; m != nil && d.config.UnejectOnCheck && m.isOut() {
		d.uneject(m, now)
	}
}

// sweep brings back who has been out for long enough, and looks at the rates of the interval that ends.
func (d *detector) sweep(now time.Time) {
	c := d.config
	for _, m := range d.hosts {
		if m.isOut() && m.outFor() <= float64(now.Sub(m.ejected)) {
			d.uneject(m, now)
		}
		m.external.turn()
		m.local.turn()
	}
	d.found[0] = d.judgeRates(func(m *Monitor) *rate { return &m.external }, successRate, failurePercentage, now)
	d.found[1] = d.judgeRates(func(m *Monitor) *rate { return &m.local }, localSuccessRate, localFailurePercentage, now)
	for _, m := range d.hosts {
		if !m.isOut() && !m.returned.IsZero() && now.Sub(m.returned) >= c.Interval && m.backOff > 0 {
			m.backOff--
		}
	}
}

// judgeRates ejects the hosts whose rate is bad, compared with the others or as such.
func (d *detector) judgeRates(of func(*Monitor) *rate, compared, alone kind, now time.Time) finding {
	c, found := d.config, nothing
	if n := len(d.hosts); n < int(c.SuccessRateMinimumHosts) && n < int(c.FailurePercentageMinimumHosts) {
		return found
	}
	type judged struct {
		*Monitor
		percent float64
	}
	var comparable, absolute []judged
	sum := 0.0
	for _, m := range d.hosts {
		percent, total := of(m).last()
		if m.isOut() || total == 0 {
			continue
		}
		if total >= uint64(min(c.SuccessRateRequestVolume, c.FailurePercentageRequestVolume)) {
			of(m).found = percent
		}
		if total >= uint64(c.SuccessRateRequestVolume) {
			comparable = append(comparable, judged{m, percent})
			sum += percent
		}
		if total >= uint64(c.FailurePercentageRequestVolume) {
			absolute = append(absolute, judged{m, percent})
		}
	}
	if n := len(comparable); n > 0 && n >= int(c.SuccessRateMinimumHosts) {
		mean, variance := sum/float64(n), 0.0
		for _, j := range comparable {
			variance += (j.percent - mean) * (j.percent - mean) / float64(n)
		}
		found = finding{mean, mean - float64(c.SuccessRateStdevFactor)/1000*math.Sqrt(variance)}
		for _, j := range comparable {
			if j.percent < found.threshold {
				d.eject(j.Monitor, compared, now)
			}
		}
	}
	if n := len(absolute); n > 0 && n >= int(c.FailurePercentageMinimumHosts) {
		for _, j := range absolute {
			if 100-j.percent >= float64(c.FailurePercentageThreshold) {
				d.eject(j.Monitor, alone, now)
			}
		}
	}
	return found
}

// SuccessRates says what the last sweep of a cluster found; nil: it has no outlier detection.
func (u *Upstream) SuccessRates(id mesh.ClusterID) *mesh.SuccessRates {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.detectors[id]
	if d == nil {
		return nil
	}
	s := &mesh.SuccessRates{Average: d.found[0].average, Threshold: d.found[0].threshold,
		LocalAverage: d.found[1].average, LocalThreshold: d.found[1].threshold, Hosts: map[netip.AddrPort]mesh.HostRates{}}
	for _, h := range d.seen.All {
		if m := d.by[h.Address]; m != nil {
			s.Hosts[h.Address] = mesh.HostRates{Rate: m.external.found, Local: m.local.found}
		}
	}
	return s
}
