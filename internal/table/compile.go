// SPDX-License-Identifier: Apache-2.0

package table

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Mode is what the user allows (--tier).
type Mode string

const (
	ModeAuto   Mode = "auto"   // the cheapest tier that is exact
	ModeSocket Mode = "socket" // as auto, and refuse what the socket tier cannot carry
	ModeProxy  Mode = "proxy"  // everything in the agent
)

// ParseMode understands the words of --tier.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case ModeAuto, ModeSocket, ModeProxy:
		return m, nil
	default:
		return "", fmt.Errorf("%q: must be auto, socket or proxy", s)
	}
}

// Busy says which ids still have live connections and may not be given to something new.
type Busy interface {
	Listener(id uint32) bool
	Cluster(id uint32) bool
	Endpoint(id uint32) bool
}

// Input of one compilation. Config and Hosts are required.
type Input struct {
	Config *mesh.Config
	Hosts  *mesh.Hosts
	Mode   Mode // "": auto
	Busy   Busy // nil: no id is busy
}

// compiler holds one run.
type compiler struct {
	in   Input
	prev *Tables
	next *Tables

	scopes    *ids[string]
	listeners *ids[listenerKey]
	clusters  *ids[mesh.ClusterID]
	endpoints *ids[endpointKey]

	oldClusters  map[mesh.ClusterID]*Cluster
	oldListeners map[uint32]*Listener
	made         map[mesh.ClusterID]*Cluster
	refused      []error
}

// Compile makes the tables for a configuration. Rows that are equal to those of prev keep their pointers, and everything
// that lives on keeps its id, and a cluster of whose endpoints nothing is known yet keeps those that it had: an agent that
// starts goes on with what the one before has left. Apart from that the result does not depend on prev, which may be nil. The
// error is only for ModeSocket, and lists all that the socket tier cannot carry.
func Compile(prev *Tables, in Input) (*Tables, error) {
	c := newCompiler(prev, in)
	for _, sc := range in.Config.Scopes {
		c.scope(sc)
	}
	if in.Mode == ModeSocket && c.refused != nil {
		return nil, errors.Join(c.refused...)
	}
	slices.SortFunc(c.next.Listeners, func(a, b *Listener) int { return int(a.ID) - int(b.ID) })
	slices.SortFunc(c.next.Clusters, func(a, b *Cluster) int { return int(a.ID) - int(b.ID) })
	slices.SortFunc(c.next.Scopes, func(a, b *Scope) int { return int(a.ID) - int(b.ID) })
	return c.next, nil
}

func newCompiler(prev *Tables, in Input) *compiler {
	if prev == nil {
		prev = &Tables{}
	}
	c := &compiler{in: in, prev: prev, next: &Tables{sources: map[mesh.ClusterID]source{}},
		scopes: newIDs[string](nil), listeners: newIDs[listenerKey](nil),
		clusters: newIDs[mesh.ClusterID](nil), endpoints: newIDs[endpointKey](nil),
		oldClusters: map[mesh.ClusterID]*Cluster{}, oldListeners: map[uint32]*Listener{}, made: map[mesh.ClusterID]*Cluster{}}
	if b := in.Busy; b != nil {
		c.listeners.busy, c.clusters.busy, c.endpoints.busy = b.Listener, b.Cluster, b.Endpoint
	}
	cgroups := map[uint32]string{}
	for _, s := range prev.Scopes {
		cgroups[s.ID] = s.Cgroup
		c.scopes.keep(s.Cgroup, s.ID)
	}
	for _, l := range prev.Listeners {
		c.oldListeners[l.ID] = l
		c.listeners.keep(listenerKey{cgroups[l.Scope], l.Address, l.Bound}, l.ID)
	}
	for _, cl := range prev.Clusters {
		c.oldClusters[cl.Cluster] = cl
		c.clusters.keep(cl.Cluster, cl.ID)
		for _, s := range cl.Slots {
			c.endpoints.keep(endpointKey{cl.Cluster, s.Address}, s.Endpoint)
		}
	}
	return c
}

func (c *compiler) scope(sc *mesh.Scope) {
	id := c.scopes.of(sc.Cgroup)
	c.next.Scopes = append(c.next.Scopes, &Scope{ID: id, Cgroup: sc.Cgroup})
	for _, l := range sc.Listeners {
		c.reason(sc, l, "", c.listener(sc, id, l))
		for _, a := range l.Additional {
			at := *l // a row of its own, which counts as the listener
			at.Address, at.V4Compat, at.StatPrefix = a.Address, a.V4Compat, l.StatName()
			c.reason(sc, l, "at "+a.Address.String(), c.listener(sc, id, &at))
		}
	}
}

// reason explains where a listener is carried at one of its addresses.
func (c *compiler) reason(sc *mesh.Scope, l *mesh.Listener, at string, ch choice) {
	c.next.Reasons = append(c.next.Reasons, Reason{Scope: sc.Cgroup, Listener: l.Name, Chain: at, Tier: ch.tier, Why: ch.why})
	if at == "" {
		c.chains(sc, l, ch.tier)
	}
}

// listener makes the row of one address.
func (c *compiler) listener(sc *mesh.Scope, scope uint32, l *mesh.Listener) choice {
	ch := c.choose(sc, l)
	row := &Listener{
		ID:   c.listeners.of(listenerKey{sc.Cgroup, l.Address, l.BindToPort}),
		Name: l.Name, Scope: scope, Address: l.Address, Bound: l.BindToPort, V4Compat: l.V4Compat,
		Tier: ch.tier, Tombstone: ch.tombstone, StatPrefix: l.StatPrefix,
	}
	if ch.tier == TierSocket && ch.tombstone == "" {
		only, _ := onlyChain(l)
		row.TCPStatPrefix = only.TCP.StatPrefix
		for _, w := range only.TCP.Clusters {
			if cl := c.cluster(sc, w.Name); cl != nil {
				row.Shares = append(row.Shares, Share{Cluster: cl.ID, Weight: w.Weight})
			}
		}
	}
	if old := c.oldListeners[row.ID]; old != nil && sameListener(old, row) {
		row = old
	}
	c.next.Listeners = append(c.next.Listeners, row)
	if c.in.Mode == ModeSocket && ch.tier != TierSocket {
		c.refused = append(c.refused, fmt.Errorf("--tier=socket: listener %s: %s", l.Name, ch.why))
	}
	return ch
}

// routes explains each route of a connection manager.
func (c *compiler) routes(sc *mesh.Scope, l *mesh.Listener, chain string, h *mesh.HTTPConnectionManager) {
	rc := sc.RouteConfig(h)
	if rc == nil {
		return
	}
	for _, vh := range rc.VirtualHosts {
		for _, r := range vh.Routes {
			why := "requests are decided one by one, in the agent"
			if r.Tombstone != "" {
				why = "answered with 503: " + r.Tombstone
			}
			c.next.Reasons = append(c.next.Reasons, Reason{Scope: sc.Cgroup, Listener: l.Name, Chain: chain, Route: vh.RouteName(r), Tier: TierProxy, Why: why})
		}
	}
}

func sameListener(a, b *Listener) bool {
	return a.Name == b.Name && a.Scope == b.Scope && a.Address == b.Address && a.Bound == b.Bound && a.V4Compat == b.V4Compat &&
		a.Tier == b.Tier && a.Tombstone == b.Tombstone && a.StatPrefix == b.StatPrefix && a.TCPStatPrefix == b.TCPStatPrefix &&
		slices.Equal(a.Shares, b.Shares)
}

// cluster returns the row of a cluster that a socket-tier listener uses; nil if the name is not configured.
func (c *compiler) cluster(sc *mesh.Scope, name string) *Cluster {
	id := mesh.ClusterID{Scope: sc.Cgroup, Name: name}
	if row, ok := c.made[id]; ok {
		return row
	}
	m := sc.Cluster(name)
	if m == nil {
		// A share without a cluster still takes its part of the connects, which are refused, as Envoy closes them.
		m = &mesh.Cluster{Name: name, Tombstone: "not configured"}
	}
	src := source{m, c.in.Hosts.Set(id)}
	row := c.oldClusters[id]
	if row == nil || c.prev.sources[id] != src {
		fresh := c.newCluster(id, m, src.hosts)
		if row == nil || !sameCluster(row, fresh) {
			row = fresh
		}
	} else {
		c.clusters.of(id)
		c.keepSlots(row)
	}
	c.next.sources[id] = src
	c.made[id] = row
	c.next.Clusters = append(c.next.Clusters, row)
	return row
}

// keepSlots returns the slots of a row of before, whose endpoints keep their ids.
func (c *compiler) keepSlots(row *Cluster) []Slot {
	for _, s := range row.Slots {
		c.endpoints.of(endpointKey{row.Cluster, s.Address})
	}
	return row.Slots
}

func (c *compiler) newCluster(id mesh.ClusterID, m *mesh.Cluster, hosts *mesh.HostSet) *Cluster {
	row := &Cluster{ID: c.clusters.of(id), Cluster: id, StatName: m.StatName(), MaxConnections: m.Breakers.MaxConnections,
		ConnectTimeoutMS: uint32(min(m.ConnectTimeout.Milliseconds(), 1<<31-1))}
	if m.Tombstone != "" {
		row.Tombstone = true
		return row
	}
	if old := c.oldClusters[id]; old != nil && !hosts.Ready {
		row.Slots = c.keepSlots(old)
	} else {
		for _, h := range sequence(m, hosts.Usable) {
			row.Slots = append(row.Slots, Slot{Endpoint: c.endpoints.of(endpointKey{id, h.Address}), Address: h.Address})
		}
	}
	switch m.Policy {
	case mesh.RoundRobin:
		row.Balance = Ring
	case mesh.Random, mesh.RingHash, mesh.Maglev: // tables of hashes are kept from here by whyProxy
		row.Balance = Random
	case mesh.LeastRequest:
		row.Balance, row.Choices = Least, m.ChoiceCount
	}
	return row
}

func sameCluster(a, b *Cluster) bool {
	return a.ID == b.ID && a.Cluster == b.Cluster && a.StatName == b.StatName && a.Balance == b.Balance && a.Choices == b.Choices &&
		a.Tombstone == b.Tombstone && a.MaxConnections == b.MaxConnections && a.ConnectTimeoutMS == b.ConnectTimeoutMS &&
		slices.Equal(a.Slots, b.Slots)
}
