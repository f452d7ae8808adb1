// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/health"
	"github.com/leno-mesh/leno/internal/mesh"
)

// checker has the active health checks of one cluster. Guarded by Upstream.mu.
type checker struct {
	config *mesh.HealthCheck
	hosts  map[hostKey]*checked
	stats  *health.Stats
	// begun: the first members are known. The cluster is ready after as many results as they are (Envoy: upstream_impl.cc,
	// ClusterImplBase::onInitDone).
	begun   bool
	waiting int
}

// checked is one host that is tried.
type checked struct {
	session *health.Session
	address netip.AddrPort // where it is tried
	stop    context.CancelFunc
	known   bool // there was a result
}

func (k *checker) ready() bool { return k.begun && k.waiting <= 0 }

// Answered tells that a host's answer to a request carries x-envoy-immediate-health-check-fail. Safe for concurrent use.
func (u *Upstream) Answered(id mesh.ClusterID, host netip.AddrPort) {
	if h := u.checkedHost(id, host); h != nil {
		h.session.Fail() // it publishes: not with mu held
	}
}

func (u *Upstream) checkedHost(id mesh.ClusterID, host netip.AddrPort) *checked {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, b := u.checkers[id], u.built[id]
	if k == nil || b.cluster == nil {
		return nil
	}
	return k.hosts[hostKey{id, host}]
}

// checkName is what a check's statistics are named by.
type checkName struct{ Cluster, Check string }

// Checks returns the statistics of all health checks that there have been, by the names of the cluster and of the check in
// statistics.
func (u *Upstream) Checks() map[checkName]*health.Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make(map[checkName]*health.Stats, len(u.checks))
	for name, s := range u.checks {
		all[name] = s
	}
	return all
}

// checkerOf returns the checker of a cluster, new or not; nil: its hosts are not tried. Called with mu held.
func (u *Upstream) checkerOf(id mesh.ClusterID, c *mesh.Cluster) *checker {
	k := u.checkers[id]
	if k != nil || c.Check == nil || u.o.SkipChecks {
		return k
	}
	name := checkName{c.StatName(), c.Check.Name}
	if u.checks[name] == nil {
		u.checks[name] = &health.Stats{}
	}
	k = &checker{config: c.Check, hosts: map[hostKey]*checked{}, stats: u.checks[name]}
	u.checkers[id] = k
	return k
}

// admit sees to it that a member is tried, and returns what it is by now. Called with mu held.
func (u *Upstream) admit(id mesh.ClusterID, c *mesh.Cluster, e *mesh.Endpoint, a netip.AddrPort) mesh.Flags {
	k, key := u.checkerOf(id, c), hostKey{id, a}
	if k == nil {
		return u.marks[key]
	}
	h := k.hosts[key]
	if e.Check.Disabled {
		u.dismiss(k, key)
		return u.marks[key]
	}
	to := a
	if e.Check.Address.IsValid() {
		to = netip.AddrPortFrom(e.Check.Address, to.Port())
	}
	if e.Check.Port != 0 {
		to = netip.AddrPortFrom(to.Addr(), e.Check.Port)
	}
	if h != nil && h.address == to {
		return u.marks[key]
	}
	u.dismiss(k, key)
	var flags mesh.Flags
	if c.Discovery != mesh.LogicalDNS { // whose host begins healthy
		flags = mesh.FailedActiveCheck
	}
	if c.WaitForCheck && kept(c) {
		flags |= mesh.PendingActiveCheck
	}
	if flags != 0 {
		u.marks[key] |= flags
	}
	h = &checked{address: to}
	h.session = health.New(health.Options{Config: c.Check, Address: to, Host: checkHost(c, e), Flags: flags, Stats: k.stats,
		Traffic: u.traffic(id), Publish: func(now mesh.Flags, good bool) { u.result(id, key, h, now, good) }})
	k.hosts[key] = h
	signal(u.wake)
	return u.marks[key]
}

// kept says whether hosts of such a cluster come and go without making another cluster of it.
func kept(c *mesh.Cluster) bool { return c.Discovery == mesh.EDS || c.Discovery == mesh.StrictDNS }

func checkHost(c *mesh.Cluster, e *mesh.Endpoint) string {
	switch {
	case e.Check.Host != "":
		return e.Check.Host
	case c.Check.HTTP != nil && c.Check.HTTP.Host != "":
		return c.Check.HTTP.Host
	}
	return c.Name
}

// traffic remembers a yes: a cluster that has had traffic has had it.
func (u *Upstream) traffic(id mesh.ClusterID) func() bool {
	var yes atomic.Bool
	return func() bool {
		if !yes.Load() && u.o.Traffic != nil && u.o.Traffic(id) {
			yes.Store(true)
		}
		return yes.Load()
	}
}

// result publishes what a host is now. Called by its session.
func (u *Upstream) result(id mesh.ClusterID, key hostKey, h *checked, now mesh.Flags, good bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.checkers[id]
	if k == nil || k.hosts[key] != h {
		return // it was let go just now
	}
	switch fails, failed := now&mesh.FailedActiveCheck != 0, u.marks[key]&mesh.FailedActiveCheck != 0; {
	case fails && (!failed || !h.known):
		u.o.Log.Info("host fails its health checks", "cluster", id.Name, "host", key.host)
	case !fails && failed && h.known:
		u.o.Log.Info("host passes its health checks again", "cluster", id.Name, "host", key.host)
	}
	h.known = true
	u.mark(key, now, health.Flags&^now)
	if d := u.detectors[id]; d != nil && good && now&mesh.FailedActiveCheck == 0 {
		d.checked(key, time.Now())
	}
	if k.waiting > 0 {
		if k.waiting--; k.waiting == 0 && u.rebuild(func(o mesh.ClusterID, _ *mesh.Cluster) bool { return o == id }) {
			signal(u.changed)
		}
	}
}

// lastCheck is for members: the hosts of a cluster are all there, and are they known well enough? Called with mu held.
func (u *Upstream) lastCheck(k *checker) bool {
	if !k.begun {
		k.begun, k.waiting = true, len(k.hosts)
		signal(u.wake)
	}
	return k.ready()
}

// staying are the hosts that have left a cluster and are kept, since checks find them healthy (Envoy: upstream_impl.cc,
// updateDynamicHostList). If they fail they go: at once with EDS, and when the names are asked for again with STRICT_DNS. Called with
// mu held.
func (u *Upstream) staying(id mesh.ClusterID, c *mesh.Cluster, seen map[netip.AddrPort]bool) []*mesh.Host {
	k, old := u.checkers[id], u.built[id].set
	if k == nil || old == nil || c.RemoveAtOnce || !kept(c) {
		return nil
	}
	var some []*mesh.Host
	for _, h := range old.All {
		key := hostKey{id, h.Address}
		left := *h
		left.Flags = u.marks[key] | mesh.PendingRemoval
		switch waits := c.Discovery == mesh.StrictDNS && h.Flags&mesh.PendingRemoval != 0 && !u.resolved; {
		case seen[h.Address], k.hosts[key] == nil, h.Health == mesh.Unhealthy:
		case left.Flags&mesh.FailedActiveCheck != 0 && !waits:
		default:
			some = append(some, &left)
		}
	}
	return some
}

// lingers says whether a host of a cluster that stands on the name only waits for an answer, to go. Called with mu held.
func (u *Upstream) lingers(k nameKey) bool {
	const gone = mesh.PendingRemoval | mesh.FailedActiveCheck
	for id := range u.checkers {
		if b := u.built[id]; using(k)(id, b.cluster) && slices.ContainsFunc(b.set.All, func(h *mesh.Host) bool { return h.Flags&gone == gone }) {
			return true
		}
	}
	return false
}

// dismiss ends the tries of one host and forgets what they found. Called with mu held.
func (u *Upstream) dismiss(k *checker, key hostKey) {
	h := k.hosts[key]
	if h == nil {
		return
	}
	if h.stop != nil {
		h.stop()
	}
	if !h.known && k.waiting > 0 {
		k.waiting--
	}
	delete(k.hosts, key)
	if u.marks[key] &^= health.Flags; u.marks[key] == 0 {
		delete(u.marks, key)
	}
}

// endChecks lets go of clusters that are gone or are checked in another way. Called with mu held.
func (u *Upstream) endChecks() {
	want := map[mesh.ClusterID]*mesh.HealthCheck{}
	for _, sc := range u.cfg.Scopes {
		for _, c := range sc.Clusters {
			if c.Tombstone == "" {
				want[mesh.ClusterID{Scope: sc.Cgroup, Name: c.Name}] = c.Check
			}
		}
	}
	for id, k := range u.checkers {
		if want[id] != k.config {
			for key := range k.hosts {
				u.dismiss(k, key)
			}
			delete(u.checkers, id)
		}
	}
}

// leaveChecks lets go of hosts that have left, and returns the clusters that had waited for nobody else. Called with mu held.
func (u *Upstream) leaveChecks() map[mesh.ClusterID]bool {
	var ripe map[mesh.ClusterID]bool
	for id, k := range u.checkers {
		was := k.ready()
		b := u.built[id]
		members := make(map[hostKey]bool, len(b.set.All))
		for _, h := range b.set.All {
			members[hostKey{id, h.Address}] = true
		}
		for key := range k.hosts {
			if !members[key] {
				u.dismiss(k, key)
			}
		}
		if k.ready() != was {
			if ripe == nil {
				ripe = map[mesh.ClusterID]bool{}
			}
			ripe[id] = true
		}
	}
	return ripe
}

// reconcileChecks starts what is not running yet. Called with mu held.
func (u *Upstream) reconcileChecks(ctx context.Context, running *sync.WaitGroup) {
	for _, k := range u.checkers {
		for _, h := range k.hosts {
			if h.stop != nil || !k.begun {
				continue
			}
			var own context.Context
			own, h.stop = context.WithCancel(ctx)
			running.Go(func() { h.session.Run(own) })
		}
	}
}
