// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// nameKey is one name as one kind of cluster resolves it; clusters with equal settings share the queries.
type nameKey struct {
	host        string
	family      mesh.DNSFamily
	refresh     time.Duration
	respectTTL  bool
	failureBase time.Duration
	failureMax  time.Duration
	resolvers   string // the addresses, joined
}

// name is the state of one resolved name; its fields are guarded by Upstream.mu.
type name struct {
	addrs     []netip.Addr
	answered  bool // an answer came, or the first query failed for good: the cluster need not wait longer
	resolvers []netip.AddrPort
	stop      context.CancelFunc
}

func keyOf(c *mesh.Cluster, host string) nameKey {
	return nameKey{host, c.DNS.Family, c.DNS.RefreshRate, c.DNS.RespectTTL, c.DNS.FailureBase, c.DNS.FailureMax,
		fmt.Sprint(c.DNS.Resolvers)}
}

func namesOf(c *mesh.Cluster) []nameKey {
	if c.Endpoints == nil || c.Tombstone != "" {
		return nil
	}
	var keys []nameKey
	for _, e := range c.Endpoints.Endpoints {
		if e.Host != "" {
			keys = append(keys, keyOf(c, e.Host))
		}
	}
	return keys
}

// reconcile starts and stops the goroutines that resolve, one per name.
func (u *Upstream) reconcile(ctx context.Context, running *sync.WaitGroup) {
	u.mu.Lock()
	defer u.mu.Unlock()
	want := map[nameKey][]netip.AddrPort{}
	for _, sc := range u.cfg.Scopes {
		for _, c := range sc.Clusters {
			for _, k := range namesOf(c) {
				want[k] = c.DNS.Resolvers
			}
		}
	}
	for k, n := range u.names {
		if _, ok := want[k]; !ok {
			n.stop()
			delete(u.names, k)
		}
	}
	u.reconcileDetectors(ctx, running)
	u.reconcileChecks(ctx, running)
	for k, resolvers := range want {
		if u.names[k] != nil {
			continue
		}
		n := &name{resolvers: resolvers}
		var own context.Context
		own, n.stop = context.WithCancel(ctx)
		u.names[k] = n
		running.Go(func() { u.follow(own, k, n) })
	}
}

func (u *Upstream) stopAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, n := range u.names {
		n.stop()
		delete(u.names, k)
	}
}

// follow resolves one name again and again. A failure keeps the last addresses.
func (u *Upstream) follow(ctx context.Context, k nameKey, n *name) {
	failures := 0
	for {
		ans, err := u.lookup(ctx, k.host, k.family, n.resolvers)
		if ctx.Err() != nil {
			return
		}
		wait := k.refresh
		if err != nil {
			u.o.Log.Warn("name is not resolved; its last addresses stay", "name", k.host, "err", err)
			wait = backOff(k, failures)
			failures++
			u.failed(k, n)
		} else {
			failures = 0
			if k.respectTTL && ans.ttl > 0 {
				wait = ans.ttl
			}
			u.answer(k, n, ans.addrs)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// backOff is the wait after the n-th failure in a row: Envoy's dns_failure_refresh_rate, fully jittered, or the refresh rate.
func backOff(k nameKey, n int) time.Duration {
	if k.failureBase == 0 {
		return k.refresh
	}
	top := k.failureBase
	for range n {
		if top = min(top*2, max(k.failureMax, k.failureBase)); top == k.failureMax {
			break
		}
	}
	return max(time.Duration(rand.Int64N(int64(top))), time.Millisecond)
}

func (u *Upstream) answer(k nameKey, n *name, addrs []netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	// The order is a server's whim; only LOGICAL_DNS looks at it, and there the first is the newest.
	if n.answered && slices.Equal(n.addrs, addrs) && !u.lingers(k) {
		return
	}
	n.addrs, n.answered = addrs, true
	u.resolved = true
	if u.rebuild(using(k)) {
		signal(u.changed)
	}
	u.resolved = false
}

// failed ends the warming of clusters that wait for a name which does not resolve: they have no endpoints.
func (u *Upstream) failed(k nameKey, n *name) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n.answered {
		return
	}
	n.answered = true
	if u.rebuild(using(k)) {
		signal(u.changed)
	}
}
