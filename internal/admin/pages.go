// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/telemetry"
)

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	st := s.agent.Status().State
	if st != status.Live {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, "%s\n", st)
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.agent.Status()) }

func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	st := s.agent.Status()
	writeJSON(w, map[string]any{
		"version":              st.Version,
		"state":                st.State,
		"uptime_current_epoch": time.Since(st.Since).Truncate(time.Second).String(),
	})
}

func (s *Server) tables(w http.ResponseWriter, _ *http.Request) {
	if _, _, t := s.agent.Current(); t != nil {
		t.Dump(w)
	}
}

func (s *Server) down(w http.ResponseWriter, _ *http.Request) {
	s.agent.Stop(true)
	fmt.Fprintln(w, "OK")
}

// reopenLogs is for who has moved the files away.
func (s *Server) reopenLogs(w http.ResponseWriter, _ *http.Request) {
	s.agent.ReopenLogs()
	fmt.Fprintln(w, "OK")
}

func (s *Server) quit(w http.ResponseWriter, _ *http.Request) {
	s.agent.Stop(false)
	fmt.Fprintln(w, "OK")
}

type socketAddress struct {
	SocketAddress struct {
		Address   string `json:"address"`
		PortValue uint16 `json:"port_value"`
	} `json:"socket_address"`
}

func jsonAddress(a netip.AddrPort) (s socketAddress) {
	s.SocketAddress.Address = a.Addr().String()
	s.SocketAddress.PortValue = a.Port()
	return s
}

// listeners answers in the shape of Envoy's admin.v3.Listeners.
func (s *Server) listeners(w http.ResponseWriter, r *http.Request) {
	type listenerStatus struct {
		Name         string          `json:"name"`
		LocalAddress socketAddress   `json:"local_address"`
		Additional   []socketAddress `json:"additional_local_addresses,omitempty"`
	}
	all := []listenerStatus{}
	cfg, _, _ := s.agent.Current()
	if cfg != nil {
		for _, sc := range cfg.Scopes {
			for _, l := range sc.Listeners {
				st := listenerStatus{Name: l.Name, LocalAddress: jsonAddress(l.Address)}
				for _, a := range l.Additional {
					st.Additional = append(st.Additional, jsonAddress(a.Address))
				}
				all = append(all, st)
			}
		}
	}
	if r.URL.Query().Get("format") == "json" {
		writeJSON(w, map[string]any{"listener_statuses": all})
		return
	}
	for _, l := range all {
		a := l.LocalAddress.SocketAddress
		fmt.Fprintf(w, "%s::%s\n", l.Name, addrText(a.Address, a.PortValue))
	}
}

func addrText(ip string, port uint16) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return fmt.Sprintf("%s:%d", ip, port)
	}
	return netip.AddrPortFrom(a, port).String()
}

// hostCounters finds an endpoint's counters; absent ones are zero.
func hostCounters(all []telemetry.Endpoint) func(mesh.ClusterID, netip.AddrPort) telemetry.Endpoint {
	type key struct {
		c mesh.ClusterID
		a netip.AddrPort
	}
	sum := make(map[key]telemetry.Endpoint, len(all))
	for _, e := range all {
		k := key{e.Cluster, e.Address}
		t := sum[k]
		t.Add(e)
		sum[k] = t
	}
	return func(c mesh.ClusterID, a netip.AddrPort) telemetry.Endpoint { return sum[key{c, a}] }
}

// clusters answers in the shape of Envoy's admin.v3.Clusters.
func (s *Server) clusters(w http.ResponseWriter, r *http.Request) {
	cfg, hosts, _ := s.agent.Current()
	counters := hostCounters(s.agent.Endpoints())
	asJSON := r.URL.Query().Get("format") == "json"
	statuses := []map[string]any{}
	if cfg == nil {
		cfg = &mesh.Config{}
	}
	for _, sc := range cfg.Scopes {
		for _, c := range sc.Clusters {
			id := mesh.ClusterID{Scope: sc.Cgroup, Name: c.Name}
			set := hosts.Set(id)
			if asJSON {
				statuses = append(statuses, clusterJSON(c, id, set, counters, s.agent.SuccessRates(id)))
			} else {
				clusterText(w, c, id, set, counters, s.agent.SuccessRates(id))
			}
		}
	}
	if asJSON {
		writeJSON(w, map[string]any{"cluster_statuses": statuses})
	}
}

func clusterText(w http.ResponseWriter, c *mesh.Cluster, id mesh.ClusterID, set *mesh.HostSet,
	counters func(mesh.ClusterID, netip.AddrPort) telemetry.Endpoint, rates *mesh.SuccessRates) {
	n := c.Name
	fmt.Fprintf(w, "%s::observability_name::%s\n", n, c.StatName())
	outlierText(w, n, rates)
	for p, name := range [...]string{mesh.PriorityDefault: "default", mesh.PriorityHigh: "high"} {
		b := c.BreakersOf(mesh.Priority(p))
		fmt.Fprintf(w, "%s::%s_priority::max_connections::%d\n", n, name, b.MaxConnections)
		fmt.Fprintf(w, "%s::%s_priority::max_pending_requests::%d\n", n, name, b.MaxPendingRequests)
		fmt.Fprintf(w, "%s::%s_priority::max_requests::%d\n", n, name, b.MaxRequests)
		fmt.Fprintf(w, "%s::%s_priority::max_retries::%d\n", n, name, b.MaxRetries)
	}
	if c.Tombstone != "" {
		fmt.Fprintf(w, "%s::leno_tombstone::%s\n", n, c.Tombstone)
	}
	fmt.Fprintf(w, "%s::added_via_api::%t\n", n, c.ViaAPI)
	for _, h := range set.All {
		e, found := counters(id, h.Address), hostRates(rates, h)
		p := n + "::" + h.Address.String()
		for _, row := range []struct {
			name  string
			value any
		}{
			{"cx_active", e.CxActive}, {"cx_connect_fail", e.CxConnectFail}, {"cx_total", e.CxTotal},
			{"rq_active", e.RqActive}, {"rq_error", e.RqError}, {"rq_success", e.RqSuccess},
			{"rq_timeout", e.RqTimeout}, {"rq_total", e.RqTotal},
			{"hostname", h.Hostname}, {"health_flags", healthFlags(h)}, {"weight", h.Weight},
			{"priority", h.Priority}, {"success_rate", found.Rate}, {"local_origin_success_rate", found.Local},
		} {
			fmt.Fprintf(w, "%s::%s::%v\n", p, row.name, row.value)
		}
	}
}

func clusterJSON(c *mesh.Cluster, id mesh.ClusterID, set *mesh.HostSet,
	counters func(mesh.ClusterID, netip.AddrPort) telemetry.Endpoint, rates *mesh.SuccessRates) map[string]any {
	hosts := []map[string]any{}
	for _, h := range set.All {
		e, found := counters(id, h.Address), hostRates(rates, h)
		stat := func(name, kind string, v uint64) map[string]any {
			// Envoy's SimpleMetric: 64-bit numbers are strings in proto JSON.
			return map[string]any{"name": name, "type": kind, "value": fmt.Sprint(v)}
		}
		host := map[string]any{
			"address":       jsonAddress(h.Address),
			"hostname":      h.Hostname,
			"weight":        h.Weight,
			"health_status": healthStatus(h),
			"stats": []map[string]any{
				stat("cx_connect_fail", "COUNTER", e.CxConnectFail), stat("cx_total", "COUNTER", e.CxTotal),
				stat("rq_error", "COUNTER", e.RqError), stat("rq_success", "COUNTER", e.RqSuccess),
				stat("rq_timeout", "COUNTER", e.RqTimeout), stat("rq_total", "COUNTER", e.RqTotal),
				stat("cx_active", "GAUGE", e.CxActive), stat("rq_active", "GAUGE", e.RqActive),
			},
		}
		percent(host, "success_rate", found.Rate)
		percent(host, "local_origin_success_rate", found.Local)
		hosts = append(hosts, host)
	}
	all := map[string]any{
		"name":               c.Name,
		"observability_name": c.StatName(),
		"added_via_api":      c.ViaAPI,
		"host_statuses":      hosts,
	}
	if rates != nil {
		percent(all, "success_rate_ejection_threshold", rates.Threshold)
		percent(all, "local_origin_success_rate_ejection_threshold", rates.LocalThreshold)
	}
	return all
}

func (s *Server) stats(w http.ResponseWriter, r *http.Request) {
	telemetry.ServeStats(w, r, s.agent.Samples())
}

func (s *Server) prometheus(w http.ResponseWriter, r *http.Request) {
	telemetry.ServePrometheus(w, r, s.agent.Samples())
}
