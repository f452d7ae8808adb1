// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/leno-mesh/leno/internal/health"
	"github.com/leno-mesh/leno/internal/mesh"
)

// Options of the resolver.
type Options struct {
	Log *slog.Logger // required
	// ResolvConf names the servers for clusters that name none; default /etc/resolv.conf. Read at each query.
	ResolvConf string
	// HostsFile is looked at before any server; default /etc/hosts.
	HostsFile string
	// Traffic says whether a cluster has ever had any; nil: none has. Health checks are rare before.
	Traffic func(mesh.ClusterID) bool
	// SkipChecks: hosts are not tried, and taken for healthy.
	SkipChecks bool
}

// Upstream follows a configuration and publishes where its endpoints are. Safe for concurrent use.
type Upstream struct {
	o       Options
	changed chan struct{}
	wake    chan struct{} // the desired clusters changed; capacity 1

	mu    sync.Mutex
	cfg   *mesh.Config
	hosts *mesh.Hosts
	built map[mesh.ClusterID]built
	names map[nameKey]*name // what is resolved now
	marks map[hostKey]mesh.Flags

	detectors map[mesh.ClusterID]*detector
	ejections map[string]*Ejections // by Cluster.StatName

	checkers map[mesh.ClusterID]*checker
	checks   map[checkName]*health.Stats
	resolved bool // an answer to a name is being followed
}

// built remembers what a set was made from.
type built struct {
	cluster *mesh.Cluster
	set     *mesh.HostSet
	// shown is what is published: set, or what was before while the hosts of set wait for their first checks.
	shown *mesh.HostSet
}

// New returns an Upstream that knows nothing yet.
func New(o Options) *Upstream {
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.HostsFile == "" {
		o.HostsFile = "/etc/hosts"
	}
	return &Upstream{o: o, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), cfg: &mesh.Config{},
		hosts: &mesh.Hosts{}, built: map[mesh.ClusterID]built{}, names: map[nameKey]*name{}, marks: map[hostKey]mesh.Flags{},
		detectors: map[mesh.ClusterID]*detector{}, ejections: map[string]*Ejections{},
		checkers: map[mesh.ClusterID]*checker{}, checks: map[checkName]*health.Stats{}}
}

// Set says which clusters are wanted. What needs no resolving is visible in Hosts when Set returns.
func (u *Upstream) Set(cfg *mesh.Config) {
	u.mu.Lock()
	if u.cfg != cfg {
		u.cfg = cfg
		u.rebuild(nil)
	}
	u.mu.Unlock()
	signal(u.wake)
}

// Hosts returns the newest members of all clusters.
func (u *Upstream) Hosts() *mesh.Hosts {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hosts
}

// Changed is signalled when something else than Set changed Hosts. One reader.
func (u *Upstream) Changed() <-chan struct{} { return u.changed }

// Run resolves names, brings ejected hosts back and tries hosts until ctx ends.
func (u *Upstream) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		u.reconcile(ctx, &running)
		select {
		case <-ctx.Done():
			u.stopAll()
			return nil
		case <-u.wake:
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // the last signal was not taken yet and covers this one
	}
}

// rebuild publishes new Hosts; sets whose cluster and addresses did not change keep their pointers. dirty says of the clusters that
// are as before whether to look again; nil: of none. Called with mu held; reports whether anything changed.
func (u *Upstream) rebuild(dirty func(mesh.ClusterID, *mesh.Cluster) bool) bool {
	u.endDetectors()
	u.endChecks()
	sets := map[mesh.ClusterID]*mesh.HostSet{}
	next := map[mesh.ClusterID]built{}
	changed := len(u.hosts.Sets) == 0
	for _, sc := range u.cfg.Scopes {
		for _, c := range sc.Clusters {
			id := mesh.ClusterID{Scope: sc.Cgroup, Name: c.Name}
			old, ok := u.built[id]
			set := old.set
			if !ok || old.cluster != c || dirty != nil && dirty(id, c) {
				set = u.members(id, c, sc.Node.Locality)
				if ok && sameSet(old.set, set) {
					set = old.set
				}
			}
			shown := set
			if k := u.checkers[id]; !set.Ready && ok && old.shown.Ready && k != nil {
				shown = old.shown // as the cluster of before serves until this one is warm
			}
			changed = changed || shown != old.shown
			next[id] = built{c, set, shown}
			sets[id] = shown
		}
	}
	changed = changed || len(sets) != len(u.hosts.Sets)
	u.built = next
	u.watchMembers()
	ripe := u.leaveChecks()
	u.forget()
	if changed {
		u.hosts = &mesh.Hosts{Sets: sets}
	}
	if ripe != nil {
		changed = u.rebuild(func(id mesh.ClusterID, _ *mesh.Cluster) bool { return ripe[id] }) || changed
	}
	return changed
}

// using is for rebuild: the clusters that stand on a name.
func using(k nameKey) func(mesh.ClusterID, *mesh.Cluster) bool {
	return func(_ mesh.ClusterID, c *mesh.Cluster) bool { return slices.Contains(namesOf(c), k) }
}

// members makes the set of one cluster from its load assignment and what its names stand for; own is where we run.
func (u *Upstream) members(id mesh.ClusterID, c *mesh.Cluster, own *mesh.Locality) *mesh.HostSet {
	set := &mesh.HostSet{Ready: true}
	if c.Tombstone != "" {
		return set
	}
	if c.Endpoints == nil {
		set.Ready = false
		return set
	}
	check := u.checkerOf(id, c)
	was, seen := u.were(id), map[netip.AddrPort]bool{}
	add := func(e *mesh.Endpoint, a netip.AddrPort) {
		if seen[a] && c.Discovery != mesh.Static { // in a static cluster it is a host of its own, as in Envoy
			return
		}
		seen[a] = true
		hostname := e.Hostname
		if hostname == "" {
			hostname = e.Host
		}
		h := &mesh.Host{Address: a, Hostname: hostname, Weight: max(e.Weight, 1), Health: e.Health,
			Priority: e.Priority, Locality: e.Locality, HashKey: e.HashKey}
		u.replace(id, was[a], h)
		h.Flags = u.admit(id, c, e, a)
		set.All = append(set.All, h)
	}
	for i := range c.Endpoints.Endpoints {
		e := &c.Endpoints.Endpoints[i]
		if e.Host == "" {
			add(e, netip.AddrPortFrom(e.Address.Addr().Unmap(), e.Address.Port()))
			continue
		}
		n := u.names[keyOf(c, e.Host)]
		if n == nil || !n.answered {
			set.Ready = false
			continue
		}
		for j, ip := range n.addrs {
			if c.Discovery == mesh.LogicalDNS && j > 0 {
				break // one logical host: new connections go to the newest first answer
			}
			add(e, netip.AddrPortFrom(ip, e.Port))
		}
	}
	set.All = append(set.All, u.staying(id, c, seen)...)
	if check != nil && set.Ready && !u.lastCheck(check) {
		set.Ready = false
	}
	if set.Ready || check == nil {
		judge(set, c, own)
	}
	return set
}

// sameSet compares what was found and what was made of it; the lists of a level follow from its members and their health.
func sameSet(a, b *mesh.HostSet) bool {
	if a.Ready != b.Ready || a.Split != b.Split || len(a.Usable) != len(b.Usable) {
		return false
	}
	return slices.EqualFunc(a.All, b.All, func(x, y *mesh.Host) bool { return *x == *y }) &&
		slices.EqualFunc(a.Levels, b.Levels, sameLevel)
}

func sameLevel(a, b mesh.Level) bool {
	return a.HealthyLoad == b.HealthyLoad && a.DegradedLoad == b.DegradedLoad && a.Panic == b.Panic && a.LocalFirst == b.LocalFirst &&
		slices.EqualFunc(a.Localities, b.Localities, func(x, y mesh.LocalityHosts) bool {
			return x.Weight == y.Weight && x.HealthyWeight == y.HealthyWeight && x.DegradedWeight == y.DegradedWeight
		})
}
