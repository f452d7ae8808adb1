// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
	"github.com/leno-mesh/leno/internal/telemetry"
	"github.com/leno-mesh/leno/internal/upstream"
)

// cluster is what runs for one configured cluster as long as its name lives.
type cluster struct {
	id     mesh.ClusterID
	counts upstream.Counts
	up     *upstream.Upstream // nil: nobody wants to know what came of requests
	stats  *clusterStats
	view   atomic.Pointer[view]

	flights [mesh.Priorities]flight

	mu    sync.Mutex
	hosts map[netip.AddrPort]*host
}

// view is a cluster as configured and resolved; immutable.
type view struct {
	config   *mesh.Cluster
	set      *mesh.HostSet
	local    *mesh.HostSet // of the local cluster; nil: there is none
	balancer *balancer
}

// host is one endpoint: its counters and its pools of HTTP connections, one for each priority.
type host struct {
	address netip.AddrPort
	active  *gauge // requests and TCP connections of all tiers

	cxTotal, cxConnectFail, rqTotal, rqSuccess, rqError, rqTimeout, tx, rx counter
	cxActive, rqActive                                                     gauge
	pools                                                                  [mesh.Priorities]pool
	tcp                                                                    tcpLine
	monitor                                                                atomic.Pointer[upstream.Monitor]
	carried                                                                carried

	mu           sync.Mutex
	announced    map[poolKey]*pool
	healthySince time.Time // of slow start; zero: not yet
}

// cluster returns the running cluster, old or new, with what is configured now.
func (p *Proxy) cluster(c *cluster, id mesh.ClusterID, config *mesh.Cluster, set, local *mesh.HostSet) *cluster {
	if c == nil {
		c = &cluster{id: id, counts: p.o.Counts, up: p.o.Upstream, stats: p.stats.cluster(config.StatName()), hosts: map[netip.AddrPort]*host{}}
		for i := range c.flights {
			c.flights[i].cluster, c.flights[i].priority = c, mesh.Priority(i)
		}
	} else if v := c.view.Load(); v.config == config && v.set == set && v.local == local {
		return c
	}
	old := c.view.Swap(&view{config, set, local, c.newBalancer(config, set, local)})
	c.keepOnly(set)
	c.watch()
	if old != nil {
		c.leave(old.set, set, config.CloseOnHostFailure)
	}
	return c
}

// watch finds out who wants to know of the hosts that there are already; host does so for new ones.
func (c *cluster) watch() {
	for _, h := range c.snapshot() {
		h.monitor.Store(c.monitorOf(h))
	}
}

func (c *cluster) monitorOf(h *host) *upstream.Monitor {
	if c.up == nil {
		return nil
	}
	return c.up.Monitor(c.id, h.address)
}

// asksToLeave looks whether a host says in its answer that it is to be left alone (Envoy: router.cc, onUpstreamHeaders).
func (c *cluster) asksToLeave(h *host, answer *http1.Header) {
	if c.up != nil && c.view.Load().config.Check != nil && answer.Has("x-envoy-immediate-health-check-fail") {
		c.up.Answered(c.id, h.address)
	}
}

// leave ends the HTTP connections to hosts that have failed just now, each after its request. TCP connections only end if that is
// wanted (Envoy: cluster_manager_impl.cc, onHostHealthFailure).
func (c *cluster) leave(old, now *mesh.HostSet, endTCP bool) {
	const failed = mesh.FailedActiveCheck | mesh.FailedOutlierCheck
	before := make(map[netip.AddrPort]mesh.Flags, len(old.All))
	for _, h := range old.All {
		before[h.Address] = h.Flags
	}
	for _, h := range now.All {
		if h.Flags&failed&^before[h.Address] == 0 {
			continue
		}
		c.mu.Lock()
		running := c.hosts[h.Address]
		c.mu.Unlock()
		if running != nil {
			running.each((*pool).renew)
			if endTCP {
				running.carried.end()
			}
		}
	}
}

// host returns the running state of one endpoint.
func (c *cluster) host(a netip.AddrPort) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[a]
	if h == nil {
		h = &host{address: a, active: c.counts.Active(c.id, a)}
		for i := range h.pools {
			h.pools[i].cluster, h.pools[i].host, h.pools[i].flight = c, h, &c.flights[i]
		}
		h.monitor.Store(c.monitorOf(h))
		c.hosts[a] = h
	}
	return h
}

// keepOnly closes the pools of endpoints that have left.
func (c *cluster) keepOnly(set *mesh.HostSet) {
	member := make(map[netip.AddrPort]bool, len(set.All))
	for _, h := range set.All {
		member[h.Address] = true
	}
	for _, h := range c.snapshot() {
		if !member[h.address] {
			c.mu.Lock()
			delete(c.hosts, h.address)
			c.mu.Unlock()
			h.close()
		}
	}
}

func (c *cluster) snapshot() []*host {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*host, 0, len(c.hosts))
	for _, h := range c.hosts {
		all = append(all, h)
	}
	return all
}

func (c *cluster) close() {
	for _, h := range c.snapshot() {
		h.close()
	}
}

// close ends what is idle.
func (h *host) close() {
	h.each((*pool).close)
}

func (c *cluster) sweep(now time.Time) {
	header := c.view.Load().config.ProxyHeader
	for _, h := range c.snapshot() {
		h.each(func(p *pool) { p.sweep(now) })
		h.sweepAnnounced(header)
	}
}

func (c *cluster) endpoints() []telemetry.Endpoint {
	var all []telemetry.Endpoint
	for _, h := range c.snapshot() {
		all = append(all, telemetry.Endpoint{Cluster: c.id, Address: h.address,
			CxTotal: h.cxTotal.Load(), CxActive: uint64(max(h.cxActive.Load(), 0)), CxConnectFail: h.cxConnectFail.Load(),
			RqTotal: h.rqTotal.Load(), RqActive: uint64(max(h.rqActive.Load(), 0)), RqSuccess: h.rqSuccess.Load(),
			RqError: h.rqError.Load(), RqTimeout: h.rqTimeout.Load(), TxBytes: h.tx.Load(), RxBytes: h.rx.Load()})
	}
	return all
}
