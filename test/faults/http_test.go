// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

const (
	webAddress = "10.99.0.1:80"
	webURL     = "http://" + webAddress + "/"
)

// webShares is the route file that splits all requests between clusters a and b.
func webShares(a, b int) string {
	return rig.Resources(fmt.Sprintf(`"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
name: web
virtual_hosts:
- name: all
  domains: ["*"]
  routes:
  - match: {prefix: /}
    route: {weighted_clusters: {clusters: [{name: a, weight: %d}, {name: b, weight: %d}]}}
`, a, b))
}

// web starts leno with an HTTP listener whose routes are watched; cluster a has its server at port 8001, b at 8002.
func web(r *rig.Rig) (config string) {
	r.T.Helper()
	a := rig.TCPService{Name: "a", Endpoints: []string{"127.0.0.1:8001"}}
	b := rig.TCPService{Name: "b", Endpoints: []string{"127.0.0.1:8002"}}
	r.Write("rds.yaml", webShares(1, 1))
	return r.Write("bootstrap.yaml", fmt.Sprintf(`node: {id: test, cluster: test}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 10.99.0.1, port_value: 80}}
    bind_to_port: false
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          rds: {route_config_name: web, config_source: {path_config_source: {path: %q}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
%s%s`, filepath.Join(r.Dir, "rds.yaml"), item(a.Cluster()), item(b.Cluster())))
}

func item(text string) string {
	return "  - " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

// webIdle waits until the agent has no request under way and returns the counters.
func webIdle(r *rig.Rig, a *rig.Agent) rig.Stats {
	r.T.Helper()
	r.Until(20*time.Second, "no request is active", func() bool {
		s := a.Stats()
		return s["http.web.downstream_rq_active"]+s["http.web.downstream_cx_active"]+
			s["cluster.a.upstream_rq_active"]+s["cluster.b.upstream_rq_active"] == 0
	})
	return a.Stats()
}

// The split moves under load, and between the moves the file is broken: no request fails, each edit takes effect.
func TestRouteEditsUnderLoad(t *testing.T) {
	r := rig.New(t)
	peer.StartHTTP(r, "127.0.0.1:8001")
	peer.StartHTTP(r, "127.0.0.1:8002")
	a := r.Agent(web(r))
	clean(t, peer.StartHTTPLoad(r, webURL, 8).Stop())
	webIdle(r, a)
	files := descriptors(r, a)
	start := a.Stats()
	load := peer.StartHTTPLoad(r, webURL, 8)
	rds := filepath.Join(r.Dir, "rds.yaml")
	for i := range 2 * rounds {
		on, off := "a", "b"
		if i%2 == 1 {
			on, off = off, on
		}
		r.Write("rds.yaml", webShares((i+1)%2, i%2))
		time.Sleep(time.Second) // an edit is live in far less, and requests under way have ended
		before := a.Stats()
		load.Progress(50)
		grown := a.Stats().Since(before)
		if n := grown["cluster."+off+".upstream_rq_total"]; n != 0 || grown["cluster."+on+".upstream_rq_total"] == 0 {
			t.Errorf("all requests should go to %s; %s got %d: %v", on, off, n, grown)
		}
		r.Write("rds.yaml", webShares(0, 0)+"  no_such_field: 1\n")
		broken(r, a, rds)
		load.Progress(20)
	}
	r.Write("rds.yaml", webShares(1, 1))
	mended(r, a)
	rep := load.Stop()
	clean(t, rep)
	grown := webIdle(r, a).Since(start)
	if n := grown["http.web.downstream_rq_2xx"]; n != rep.OK {
		t.Errorf("%d requests counted, %d made", n, rep.OK)
	}
	sameDescriptors(r, a, files+4*2) // idle connections to the servers stay
}

// Servers of HTTP die: the agent answers 503 for what it cannot deliver, and nothing else goes wrong.
func TestHTTPServersKilled(t *testing.T) {
	r := rig.New(t)
	peer.StartHTTP(r, "127.0.0.1:8001")
	mortal := peer.StartHTTP(r, "127.0.0.1:8002")
	a := r.Agent(web(r))
	load := peer.StartHTTPLoad(r, webURL, 8)
	for range rounds {
		mortal.Kill()
		load.Progress(20)
		mortal = peer.StartHTTP(r, "127.0.0.1:8002")
		load.Progress(20)
	}
	rep := load.Stop()
	if rep.Wrong != 0 || rep.Errors["status 503"] == 0 {
		t.Errorf("load: %+v", rep)
	}
	delete(rep.Errors, "status 503")
	delete(rep.Errors, "early end") // a server that dies in the middle of a body: the client's connection ends too
	if len(rep.Errors) != 0 {
		t.Errorf("more than 503: %+v", rep)
	}
	webIdle(r, a)
	clean(t, peer.StartHTTPLoad(r, webURL, 8).Stop())
	webIdle(r, a)
	if n := words(r, "cluster_active") + words(r, "endpoint_active"); n > 4 {
		t.Errorf("%d words of what is in flight are not 0; at most the idle connections of two clusters may be left", n)
	}
}

// Clients of HTTP die in the middle of requests: the agent drops them and what it did for them.
func TestHTTPClientsKilled(t *testing.T) {
	r := rig.New(t)
	peer.StartHTTP(r, "127.0.0.1:8001")
	peer.StartHTTP(r, "127.0.0.1:8002")
	a := r.Agent(web(r))
	clean(t, peer.StartHTTPLoad(r, webURL, 8).Stop())
	webIdle(r, a)
	files := descriptors(r, a)
	witness := peer.StartHTTPLoad(r, webURL, 2)
	for range 2 * rounds {
		peer.StartHTTPLoad(r, webURL, 8).Kill()
	}
	clean(t, witness.Stop())
	webIdle(r, a)
	sameDescriptors(r, a, files+16) // idle connections to the servers stay
}

// The agent of HTTP dies and comes back: connections break or are refused meanwhile, nothing hangs, and the next agent serves.
func TestHTTPAgentKilled(t *testing.T) {
	r := rig.New(t)
	peer.StartHTTP(r, "127.0.0.1:8001")
	peer.StartHTTP(r, "127.0.0.1:8002")
	config := web(r)
	a := r.Agent(config)
	load := peer.StartHTTPLoad(r, webURL, 8)
	for range rounds {
		a.Kill()
		a = r.Agent(config)
		load.Progress(20)
	}
	onlyBroken(t, load.Stop())
	clean(t, peer.StartHTTPLoad(r, webURL, 8).Stop())
	webIdle(r, a)
}

// SIGTERM lets what the agent carries come to its end. The servers are slow, so that every client has a request under way.
func TestHTTPAgentDrains(t *testing.T) {
	r := rig.New(t)
	for _, address := range []string{"127.0.0.1:8001", "127.0.0.1:8002"} {
		r.Serve(address, r.Child("http-server", address, "500ms"))
	}
	a := r.Agent(web(r), "--drain-time-s=10")
	load := peer.StartHTTPLoad(r, webURL, 8)
	load.Progress(8)
	time.Sleep(200 * time.Millisecond)
	a.Signal(syscall.SIGTERM)
	if status := a.Wait(20 * time.Second); status != 0 {
		t.Errorf("SIGTERM: exit status %d", status)
	}
	rep := load.Stop()
	if rep.Wrong != 0 || len(rep.Errors) != 1 || rep.Errors["connection refused"] == 0 {
		t.Errorf("a stop may refuse connections, and nothing else: %+v", rep)
	}
}
