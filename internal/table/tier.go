// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Bounds of one row in the kernel (bpf/types.h: LENO_MAX_SLOTS less its head, LENO_MAX_SHARES).
const (
	maxSlots   = 4095
	maxShares  = 128
	maxChoices = 16
)

// uncountedPending is the max_pending_requests from which on the kernel need not count the connections that are being opened: Envoy's
// default. Below it max_connections does.
const uncountedPending = 1024

// choice is the tier of one listener.
type choice struct {
	tier      Tier
	why       string
	tombstone string
}

// choose decides where a listener is carried. The rule: the socket tier only where the outcome equals Envoy's.
func (c *compiler) choose(sc *mesh.Scope, l *mesh.Listener) choice {
	wantsSocket := l.Tier == "socket" || c.in.Mode == ModeSocket
	switch {
	case l.Tombstone != "":
		return choice{TierSocket, "every connect fails: " + l.Tombstone, l.Tombstone}
	case c.in.Mode == ModeProxy:
		return choice{tier: TierProxy, why: "asked for by --tier=proxy"}
	case l.Tier == "proxy" && c.in.Mode != ModeSocket:
		return choice{tier: TierProxy, why: "asked for by the listener's metadata"}
	}
	why := c.whyProxy(sc, l)
	switch {
	case why == "":
		return choice{tier: TierSocket, why: "a TCP listener whose clusters the kernel balances exactly: placed at connect()"}
	case wantsSocket:
		// The listener asked for what cannot be done exactly: nothing else may serve it.
		return choice{TierProxy, why, "asked for the socket tier, but " + why}
	default:
		return choice{tier: TierProxy, why: why}
	}
}

// whyProxy says in words what the socket tier cannot do exactly for this listener; empty: it can do all.
func (c *compiler) whyProxy(sc *mesh.Scope, l *mesh.Listener) string {
	only, why := onlyChain(l)
	if len(l.Filters) > 0 {
		return "listener_filters look at the first bytes, in the agent"
	}
	if only == nil {
		return why
	}
	switch t := only.TCP; {
	case only.Tombstone != "":
		return "the filter chain of its address is refused: the agent closes its connections"
	case len(only.Limits) > 0:
		return "connection_limit: connections are counted in the agent"
	case len(only.RBAC) > 0:
		return "rbac: connections are judged by their first bytes, in the agent"
	case only.Direct != nil || only.Echo:
		return "direct_response, echo: the agent answers"
	case only.HTTP != nil:
		return "http_connection_manager: each request is decided on its own, in the agent"
	case t.IdleTimeoutSet:
		return "tcp_proxy.idle_timeout is set: only the agent sees when a connection is idle"
	case len(t.AccessLogs) > 0:
		return "tcp_proxy.access_log is set: only the agent writes a line for each connection"
	case t.MaxDuration > 0:
		return "tcp_proxy.max_downstream_connection_duration is set: only the agent can end a connection by its age"
	case t.AwaitData:
		return "tcp_proxy.upstream_connect_mode is ON_DOWNSTREAM_DATA: only the agent sees what a client sends"
	case t.MaxConnectAttempts > 1:
		return fmt.Sprintf("tcp_proxy.max_connect_attempts is %d: only the agent can try another host", t.MaxConnectAttempts)
	case len(t.Clusters) > maxShares:
		return fmt.Sprintf("%d weighted clusters: the kernel holds %d", len(t.Clusters), maxShares)
	}
	for _, w := range only.TCP.Clusters {
		m := sc.Cluster(w.Name)
		if m == nil || m.Tombstone != "" {
			continue // its share is refused, in any tier
		}
		if why := clusterNeedsProxy(l, m, c.in.Hosts.Set(mesh.ClusterID{Scope: sc.Cgroup, Name: w.Name}), zoned(sc, m)); why != "" {
			return why
		}
	}
	return ""
}

// zoned says whether balancing looks at zones where there are several.
func zoned(sc *mesh.Scope, m *mesh.Cluster) bool {
	return sc.LocalCluster != "" && sc.LocalCluster != m.Name
}

func clusterNeedsProxy(l *mesh.Listener, m *mesh.Cluster, set *mesh.HostSet, zoned bool) string {
	if m.Outlier != nil {
		return fmt.Sprintf("cluster %s: outlier_detection: what comes of connections is judged in the agent", m.Name)
	}
	if m.Check != nil && m.CloseOnHostFailure {
		return fmt.Sprintf("cluster %s: close_connections_on_host_health_failure: only the agent can end connections", m.Name)
	}
	usable := set.Usable
	if len(usable) == 0 {
		return "" // nothing to balance: refused in any tier
	}
	otherFamily := 0
	for _, h := range usable {
		if h.Address.Addr().Is4() != l.Address.Addr().Is4() {
			otherFamily++
		}
	}
	switch slots := ringLength(m, usable); {
	case m.Policy.Hashes():
		return fmt.Sprintf("cluster %s: hash tables are built in the agent", m.Name)
	case m.ProxyHeader != nil:
		return fmt.Sprintf("cluster %s: the agent writes the PROXY header that begins its connections", m.Name)
	case m.Breakers.MaxPendingRequests < min(m.Breakers.MaxConnections, uncountedPending):
		return fmt.Sprintf("cluster %s: max_pending_requests %d: connections that are being opened are counted in the agent", m.Name, m.Breakers.MaxPendingRequests)
	case m.Breakers.PerHost != nil:
		return fmt.Sprintf("cluster %s: per_host_thresholds: connections wait for one to end in the agent", m.Name)
	case m.SlowStart != nil:
		return fmt.Sprintf("cluster %s: slow_start_config: weights change with time, in the agent", m.Name)
	case set.Split:
		return fmt.Sprintf("cluster %s: its endpoints are chosen by priority or locality first, in the agent", m.Name)
	case zoned && len(set.Levels[0].Localities) > 1:
		return fmt.Sprintf("cluster %s: cluster_manager.local_cluster_name: the zone is looked at in the agent", m.Name)
	case m.ZoneAware != nil && m.ZoneAware.FailTrafficOnPanic:
		return fmt.Sprintf("cluster %s: fail_traffic_on_panic is looked at in the agent", m.Name)
	case m.FullScan:
		return fmt.Sprintf("cluster %s: selection_method FULL_SCAN: all hosts are compared in the agent", m.Name)
	case m.Policy == mesh.LeastRequest && !equalWeights(usable):
		return fmt.Sprintf("cluster %s: LEAST_REQUEST with unequal weights is scheduled in the agent", m.Name)
	case m.Policy == mesh.LeastRequest && m.ChoiceCount > maxChoices:
		return fmt.Sprintf("cluster %s: choice_count %d: the kernel compares at most %d", m.Name, m.ChoiceCount, maxChoices)
	case slots > maxSlots:
		return fmt.Sprintf("cluster %s: its weights need a schedule of %d slots, the kernel holds %d", m.Name, slots, maxSlots)
	case otherFamily == len(usable) && !l.V4Compat:
		return fmt.Sprintf("cluster %s: its endpoints are of another address family than the listener", m.Name)
	}
	return ""
}
