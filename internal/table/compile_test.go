// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

func tcp(name, addr string, clusters ...mesh.WeightedCluster) *mesh.Listener {
	return &mesh.Listener{Name: name, Address: netip.MustParseAddrPort(addr), BindToPort: true,
		Chains: []*mesh.FilterChain{{TCP: &mesh.TCPProxy{Clusters: clusters, MaxConnectAttempts: 1}}}}
}

func to(name string, weight uint32) mesh.WeightedCluster {
	return mesh.WeightedCluster{Name: name, Weight: weight}
}

func cluster(name string, p mesh.Policy) *mesh.Cluster {
	return &mesh.Cluster{Name: name, Balancing: mesh.Balancing{Policy: p, ChoiceCount: 2}, ConnectTimeout: 5 * time.Second,
		Breakers: mesh.Breakers{MaxConnections: 1024, MaxPendingRequests: 1024}}
}

// hosts makes a set from "address" or "address*weight".
func hosts(specs ...string) *mesh.HostSet {
	s := &mesh.HostSet{Ready: true}
	for _, spec := range specs {
		addr, weight, _ := strings.Cut(spec, "*")
		h := &mesh.Host{Address: netip.MustParseAddrPort(addr), Weight: 1}
		if weight != "" {
			fmt.Sscan(weight, &h.Weight)
		}
		s.All = append(s.All, h)
	}
	s.Usable = s.All
	return s
}

// world is one scope and its hosts.
func world(ls []*mesh.Listener, cs []*mesh.Cluster, sets map[string]*mesh.HostSet) Input {
	h := &mesh.Hosts{Sets: map[mesh.ClusterID]*mesh.HostSet{}}
	for n, s := range sets {
		h.Sets[mesh.ClusterID{Scope: "/", Name: n}] = s
	}
	return Input{Config: &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/", Listeners: ls, Clusters: cs}}}, Hosts: h}
}

func compile(t *testing.T, prev *Tables, in Input) *Tables {
	t.Helper()
	tables, err := Compile(prev, in)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func dump(t *Tables) string {
	var b strings.Builder
	t.Dump(&b)
	return b.String()
}

// slots shows the ring by the last number of the port.
func slots(c *Cluster) string {
	var b strings.Builder
	for _, s := range c.Slots {
		fmt.Fprintf(&b, "%d", s.Address.Port())
	}
	return b.String()
}

func TestTiers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*mesh.Listener, *mesh.Cluster, *mesh.HostSet)
		tier   Tier
		why    string
	}{
		{"plain", func(*mesh.Listener, *mesh.Cluster, *mesh.HostSet) {}, TierSocket, "placed at connect()"},
		{"idle_timeout", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) { l.Chains[0].TCP.IdleTimeoutSet = true }, TierProxy, "idle_timeout"},
		{"attempts", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) { l.Chains[0].TCP.MaxConnectAttempts = 2 }, TierProxy, "max_connect_attempts"},
		{"access log", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) {
			l.Chains[0].TCP.AccessLogs = []mesh.AccessLog{{}}
		}, TierProxy, "access_log"},
		{"wish", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) { l.Tier = "proxy" }, TierProxy, "metadata"},
		{"least request, equal", func(_ *mesh.Listener, c *mesh.Cluster, _ *mesh.HostSet) { c.Policy = mesh.LeastRequest }, TierSocket, "placed"},
		{"least request, unequal", func(_ *mesh.Listener, c *mesh.Cluster, h *mesh.HostSet) {
			c.Policy, h.All[0].Weight = mesh.LeastRequest, 2
		}, TierProxy, "unequal weights"},
		{"random ignores weights", func(_ *mesh.Listener, c *mesh.Cluster, h *mesh.HostSet) {
			c.Policy, h.All[0].Weight = mesh.Random, 2
		}, TierSocket, "placed"},
		{"ring too long", func(_ *mesh.Listener, _ *mesh.Cluster, h *mesh.HostSet) { h.All[0].Weight = 5000 }, TierProxy, "5001 slots"},
		{"a chain for its address", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) {
			l.Default = l.Chains[0]
			l.Chains = []*mesh.FilterChain{{Match: mesh.ChainMatch{DestinationPort: 81}, Tombstone: "x"}}
		}, TierSocket, "placed"},
		{"a chain for another port", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) {
			l.Chains[0].Match.DestinationPort = 81
		}, TierProxy, "no filter chain takes"},
		{"chains by source", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) {
			l.Chains[0].Match.SourcePorts = []uint16{7}
		}, TierProxy, "filter_chain_match"},
		{"any address", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) {
			l.Address = netip.MustParseAddrPort("0.0.0.0:80")
			l.Chains[0].Match.DestinationPort = 80
		}, TierProxy, "unspecified"},
		{"the longest range", func(l *mesh.Listener, _ *mesh.Cluster, _ *mesh.HostSet) {
			l.Chains[0].Match.Prefixes = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			l.Chains = append(l.Chains, &mesh.FilterChain{Match: mesh.ChainMatch{
				Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, HTTP: &mesh.HTTPConnectionManager{}})
		}, TierProxy, "http_connection_manager"},
		{"health checks", func(_ *mesh.Listener, c *mesh.Cluster, _ *mesh.HostSet) { c.Check = &mesh.HealthCheck{} }, TierSocket, "balances exactly"},
		{"health checks that end connections", func(_ *mesh.Listener, c *mesh.Cluster, _ *mesh.HostSet) {
			c.Check, c.CloseOnHostFailure = &mesh.HealthCheck{}, true
		}, TierProxy, "close_connections_on_host_health_failure"},
		{"outlier detection", func(_ *mesh.Listener, c *mesh.Cluster, _ *mesh.HostSet) { c.Outlier = &mesh.OutlierDetection{} }, TierProxy, "outlier_detection"},
		{"outlier detection, all are out", func(_ *mesh.Listener, c *mesh.Cluster, h *mesh.HostSet) {
			c.Outlier, h.Usable = &mesh.OutlierDetection{}, nil
		}, TierProxy, "outlier_detection"},
		{"pending bounded by connections", func(_ *mesh.Listener, c *mesh.Cluster, _ *mesh.HostSet) {
			c.Breakers = mesh.Breakers{MaxConnections: 10, MaxPendingRequests: 10}
		}, TierSocket, "placed"},
		{"pending", func(_ *mesh.Listener, c *mesh.Cluster, _ *mesh.HostSet) {
			c.Breakers = mesh.Breakers{MaxConnections: 11, MaxPendingRequests: 10}
		}, TierProxy, "max_pending_requests 10"},
		{"pending, more than is counted", func(_ *mesh.Listener, c *mesh.Cluster, _ *mesh.HostSet) {
			c.Breakers = mesh.Breakers{MaxConnections: 5000, MaxPendingRequests: 1024}
		}, TierSocket, "placed"},
		{"other family", func(_ *mesh.Listener, _ *mesh.Cluster, h *mesh.HostSet) {
			for i := range h.All {
				h.All[i].Address = netip.AddrPortFrom(netip.MustParseAddr("fd00::1"), uint16(i+1))
			}
		}, TierProxy, "address family"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, c, h := tcp("l", "127.0.0.1:80", to("c", 1)), cluster("c", mesh.RoundRobin), hosts("10.0.0.1:1", "10.0.0.2:2")
			tc.change(l, c, h)
			tables := compile(t, nil, world([]*mesh.Listener{l}, []*mesh.Cluster{c}, map[string]*mesh.HostSet{"c": h}))
			if got := tables.Listeners[0].Tier; got != tc.tier {
				t.Errorf("tier %s, want %s", got, tc.tier)
			}
			if why := tables.Reasons[0].Why; !strings.Contains(why, tc.why) {
				t.Errorf("reason %q does not say %q", why, tc.why)
			}
		})
	}
}

func TestZonesAreForTheAgent(t *testing.T) {
	level := func(zones ...string) *mesh.HostSet {
		h := hosts("10.0.0.1:1", "10.0.0.2:2")
		h.Levels = []mesh.Level{{}}
		for _, z := range zones {
			h.Levels[0].Localities = append(h.Levels[0].Localities, mesh.LocalityHosts{Locality: mesh.Locality{Zone: z}})
		}
		return h
	}
	for _, tc := range []struct {
		name, local string
		set         *mesh.HostSet
		tier        Tier
	}{
		{"no local cluster", "", level("a", "b"), TierSocket},
		{"several zones", "us", level("a", "b"), TierProxy},
		{"one zone", "us", level("a"), TierSocket},
		{"the local cluster itself", "c", level("a", "b"), TierSocket},
	} {
		in := world([]*mesh.Listener{tcp("l", "127.0.0.1:80", to("c", 1))}, []*mesh.Cluster{cluster("c", mesh.RoundRobin)},
			map[string]*mesh.HostSet{"c": tc.set})
		in.Config.Scopes[0].LocalCluster = tc.local
		tables := compile(t, nil, in)
		if got := tables.Listeners[0].Tier; got != tc.tier {
			t.Errorf("%s: tier %s, want %s", tc.name, got, tc.tier)
		}
	}
}

func TestReasonsNameEveryChain(t *testing.T) {
	l := tcp("l", "127.0.0.1:80", to("c", 1))
	l.Chains[0].Name, l.Chains[0].Match.DestinationPort = "first", 80
	l.Chains = append(l.Chains, &mesh.FilterChain{Match: mesh.ChainMatch{DestinationPort: 81}, Tombstone: "TLS"})
	l.Default = &mesh.FilterChain{HTTP: &mesh.HTTPConnectionManager{RouteConfig: &mesh.RouteConfig{}}}
	tables := compile(t, nil, world([]*mesh.Listener{l}, []*mesh.Cluster{cluster("c", mesh.RoundRobin)}, nil))
	var got []string
	for _, r := range tables.Reasons {
		got = append(got, r.Chain+"|"+r.Why)
	}
	want := []string{"|a TCP listener whose clusters the kernel balances exactly: placed at connect()",
		"first|tcp_proxy: each connection is placed as a whole", "filter_chains[1]|its connections are closed: TLS",
		"default_filter_chain|no connection to the listener's address is for it"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestRingFollowsEnvoysSchedule(t *testing.T) {
	for _, tc := range []struct{ hosts, want string }{
		{"10.0.0.1:1 10.0.0.1:2 10.0.0.1:3", "123"},
		{"10.0.0.1:1*2 10.0.0.1:2*2", "12"},
		{"10.0.0.1:1*3 10.0.0.1:2*1", "1121"},
		{"10.0.0.1:1*2 10.0.0.1:2*1", "121"},
	} {
		h := hosts(strings.Fields(tc.hosts)...)
		tables := compile(t, nil, world([]*mesh.Listener{tcp("l", "127.0.0.1:80", to("c", 1))},
			[]*mesh.Cluster{cluster("c", mesh.RoundRobin)}, map[string]*mesh.HostSet{"c": h}))
		got := slots(tables.Clusters[0])
		if got != tc.want {
			t.Errorf("%s: ring %s, want %s", tc.hosts, got, tc.want)
		}
	}
}

func TestSocketModeNamesAllThatDoesNotFit(t *testing.T) {
	http := &mesh.Listener{Name: "web", Address: netip.MustParseAddrPort("127.0.0.1:81"),
		Chains: []*mesh.FilterChain{{HTTP: &mesh.HTTPConnectionManager{RouteConfig: &mesh.RouteConfig{}}}}}
	idle := tcp("idle", "127.0.0.1:82", to("c", 1))
	idle.Chains[0].TCP.IdleTimeoutSet = true
	in := world([]*mesh.Listener{http, idle}, []*mesh.Cluster{cluster("c", mesh.RoundRobin)}, nil)
	in.Mode = ModeSocket
	_, err := Compile(nil, in)
	if err == nil || !strings.Contains(err.Error(), "web") || !strings.Contains(err.Error(), "idle") {
		t.Errorf("both listeners must be named: %v", err)
	}
}

func TestWishThatCannotBeHonouredIsATombstone(t *testing.T) {
	l := tcp("l", "127.0.0.1:80", to("c", 1))
	l.Tier, l.Chains[0].TCP.IdleTimeoutSet = "socket", true
	tables := compile(t, nil, world([]*mesh.Listener{l}, []*mesh.Cluster{cluster("c", mesh.RoundRobin)}, nil))
	if tables.Listeners[0].Tombstone == "" {
		t.Error("a listener that insists on the socket tier and does not fit must refuse")
	}
}

type busySet map[uint32]bool

func (b busySet) Listener(id uint32) bool { return b[id] }
func (b busySet) Cluster(id uint32) bool  { return b[id] }
func (b busySet) Endpoint(id uint32) bool { return b[id] }

func TestIDsStayAndBusyOnesRest(t *testing.T) {
	a, b := tcp("a", "127.0.0.1:80", to("a", 1)), tcp("b", "127.0.0.1:81", to("b", 1))
	ca, cb := cluster("a", mesh.RoundRobin), cluster("b", mesh.RoundRobin)
	sets := map[string]*mesh.HostSet{"a": hosts("10.0.0.1:1"), "b": hosts("10.0.0.2:1")}
	first := compile(t, nil, world([]*mesh.Listener{a, b}, []*mesh.Cluster{ca, cb}, sets))
	second := compile(t, first, world([]*mesh.Listener{b}, []*mesh.Cluster{cb}, sets))
	if second.Listeners[0] != first.Listeners[1] || second.Clusters[0] != first.Clusters[1] {
		t.Error("what did not change must keep its row")
	}
	c := tcp("c", "127.0.0.1:82", to("c", 1))
	sets["c"] = hosts("10.0.0.3:1")
	in := world([]*mesh.Listener{b, c}, []*mesh.Cluster{cb, cluster("c", mesh.RoundRobin)}, sets)
	in.Busy = busySet{1: true} // the ids of a still have connections
	third := compile(t, second, in)
	for _, l := range third.Listeners {
		if l.ID == 1 {
			t.Errorf("listener %s got a busy id", l.Name)
		}
	}
	for _, cl := range third.Clusters {
		if cl.ID == 1 || cl.Slots[0].Endpoint == 1 {
			t.Errorf("cluster %s got a busy id", cl.Cluster.Name)
		}
	}
}

// TestHistoryDoesNotMatter: after any sequence of configurations the tables equal, up to ids, those made from nothing.
func TestHistoryDoesNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var prev *Tables
	for round := range 200 {
		in := randomWorld(rng)
		prev = compile(t, prev, in)
		fresh := compile(t, nil, in)
		if got, want := withoutIDs(prev), withoutIDs(fresh); got != want {
			t.Fatalf("round %d:\n%s\nfrom nothing:\n%s", round, got, want)
		}
	}
}

func randomWorld(rng *rand.Rand) Input {
	var ls []*mesh.Listener
	var cs []*mesh.Cluster
	sets := map[string]*mesh.HostSet{}
	for i := range 6 {
		name := fmt.Sprintf("c%d", i)
		if rng.IntN(4) == 0 {
			continue
		}
		cs = append(cs, cluster(name, mesh.Policy(rng.IntN(3))))
		var hs []string
		for j := range rng.IntN(4) {
			hs = append(hs, fmt.Sprintf("10.0.%d.%d:80*%d", i, j, 1+rng.IntN(3)))
		}
		sets[name] = hosts(hs...)
	}
	for i := range 6 {
		if rng.IntN(3) > 0 {
			ls = append(ls, tcp(fmt.Sprintf("l%d", i), fmt.Sprintf("127.0.0.1:%d", 80+i),
				to(fmt.Sprintf("c%d", rng.IntN(6)), 1+uint32(rng.IntN(9))), to(fmt.Sprintf("c%d", rng.IntN(6)), 1)))
		}
	}
	return world(ls, cs, sets)
}

// withoutIDs renders tables with names in place of ids.
func withoutIDs(t *Tables) string {
	clusters := map[uint32]*Cluster{}
	for _, c := range t.Clusters {
		clusters[c.ID] = c
	}
	lines := []string{}
	for _, l := range t.Listeners {
		line := fmt.Sprint(l.Name, l.Address, l.Bound, l.Tier, l.Tombstone)
		for _, s := range l.Shares {
			c := clusters[s.Cluster]
			line += fmt.Sprint(" ", s.Weight, c.Cluster.Name, c.Balance, c.Tombstone)
			for _, sl := range c.Slots {
				line += " " + sl.Address.String()
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestCostFollowsTheChange(t *testing.T) {
	const n = 2000
	var ls []*mesh.Listener
	var cs []*mesh.Cluster
	sets := map[string]*mesh.HostSet{}
	for i := range n {
		name := fmt.Sprintf("c%05d", i)
		ls = append(ls, tcp(name, fmt.Sprintf("10.1.%d.%d:80", i/250, i%250), to(name, 1)))
		cs = append(cs, cluster(name, mesh.RoundRobin))
		sets[name] = hosts(fmt.Sprintf("10.2.%d.%d:80", i/250, i%250))
	}
	in := world(ls, cs, sets)
	first := compile(t, nil, in)
	sets["c00007"] = hosts("10.3.0.1:80")
	second := compile(t, first, world(ls, cs, sets))
	changed := 0
	for i := range first.Clusters {
		if first.Clusters[i] != second.Clusters[i] {
			changed++
		}
		if first.Listeners[i] != second.Listeners[i] {
			t.Errorf("listener %s was made again", first.Listeners[i].Name)
		}
	}
	if changed != 1 {
		t.Errorf("%d cluster rows were made again, want 1", changed)
	}
	if dump(first) == dump(second) {
		t.Error("the dump does not show the change")
	}
}
