// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

var (
	soakSeconds = flag.Int("soak.seconds", 0, "how long TestSoak runs; 0: it is skipped")
	soakSeed    = flag.Uint64("soak.seed", 1, "what its order of faults depends on")
	soakReport  = flag.String("soak.report", "", "write what was found to this file")
)

// soakNumbers is what a soak found, as JSON.
type soakNumbers struct {
	Seed     uint64 `json:"seed"`
	Seconds  int    `json:"seconds"`
	Requests uint64 `json:"requests"` // HTTP requests and TCP connections that went well
	Failed   uint64 `json:"failed"`   // that a fault made fail, in a way that it explains
	Faults   int    `json:"faults"`
	Wrong    uint64 `json:"wrong"` // answers with a wrong byte
	// What the agent held after the first round and at the end, both times idle.
	DescriptorsBefore int `json:"descriptors_before"`
	DescriptorsAfter  int `json:"descriptors_after"`
	KiBBefore         int `json:"kib_before"`
	KiBAfter          int `json:"kib_after"`
	Goroutines        int `json:"goroutines"` // at the end
	Failures          int `json:"failures"`   // of the test; 0: all is well
}

// soak is the world of a long run: an HTTP listener with watched routes and endpoints, a TCP listener, and their servers.
type soak struct {
	r       *rig.Rig
	a       *rig.Agent
	draw    *rand.Rand
	servers map[string]*rig.Proc // by address
}

const soakTCP = "10.99.0.1:7"

var soakServers = []string{"127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:8003", "127.0.0.1:8004", "127.0.0.1:7001", "127.0.0.1:7002"}

// TestSoak lets faults and edits happen at random under load, in rounds. After each round nothing is under way any more, and at
// the end the agent holds no more than after the first. It is `make soak` that runs it for long.
func TestSoak(t *testing.T) {
	if *soakSeconds == 0 {
		t.Skip("runs with -soak.seconds")
	}
	begun := time.Now()
	n := soakNumbers{Seed: *soakSeed}
	s := newSoak(t)
	for round := 0; round == 0 || time.Since(begun) < time.Duration(*soakSeconds)*time.Second; round++ {
		s.round(&n)
		s.idle()
		if round == 0 {
			n.DescriptorsBefore, n.KiBBefore = descriptors(s.r, s.a), resident(s.r, s.a)>>10
		}
		if t.Failed() {
			break
		}
	}
	n.DescriptorsAfter, n.KiBAfter = descriptors(s.r, s.a), resident(s.r, s.a)>>10
	n.Goroutines = goroutines(s.a)
	if n.DescriptorsAfter > n.DescriptorsBefore+40 { // idle connections to the servers stay
		t.Errorf("%d files are open, %d after the first round", n.DescriptorsAfter, n.DescriptorsBefore)
	}
	if n.KiBAfter > n.KiBBefore+64<<10 {
		t.Errorf("%d KiB are resident, %d after the first round", n.KiBAfter, n.KiBBefore)
	}
	if n.Goroutines == 0 || n.Goroutines > 80 {
		t.Errorf("%d goroutines at the end", n.Goroutines)
	}
	n.Seconds = int(time.Since(begun).Seconds())
	if t.Failed() {
		n.Failures = 1
	}
	text, err := json.Marshal(n)
	must(t, err)
	t.Logf("%s", text)
	if *soakReport != "" {
		must(t, os.WriteFile(*soakReport, append(text, '\n'), 0o644))
	}
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{r: rig.New(t), draw: rand.New(rand.NewPCG(*soakSeed, 0)), servers: map[string]*rig.Proc{}}
	for _, address := range soakServers {
		s.serve(address)
	}
	s.r.Write("rds.yaml", soakShares(1, 1))
	s.endpoints("8001", "8003")
	config := strings.NewReplacer("ROUTES", filepath.Join(s.r.Dir, "rds.yaml"), "ENDPOINTS", filepath.Join(s.r.Dir, "eds.yaml")).Replace(soakConfig)
	s.a = s.r.Agent(s.r.Write("bootstrap.yaml", config), "--tier=proxy")
	return s
}

// soakShares splits between clusters a and b, and retries what a dead server left.
func soakShares(a, b int) string {
	return strings.Replace(webShares(a, b), "route: {weighted", "route: {timeout: 10s, retry_policy: {retry_on: \"connect-failure,reset,5xx\", num_retries: 2}, weighted", 1)
}

func (s *soak) serve(address string) {
	if strings.HasPrefix(address, "127.0.0.1:7") {
		s.servers[address] = peer.StartEcho(s.r, address)
	} else {
		s.servers[address] = peer.StartHTTP(s.r, address)
	}
}

// endpoints puts the servers at these ports into cluster a.
func (s *soak) endpoints(ports ...string) {
	var all []string
	for _, p := range ports {
		all = append(all, fmt.Sprintf("{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}", p))
	}
	s.r.Write("eds.yaml", rig.Resources(`"@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
cluster_name: a
endpoints: [{lb_endpoints: [`+strings.Join(all, ", ")+"]}]\n"))
}

// round runs loads and a few faults, mends everything, and takes what the loads say.
func (s *soak) round(n *soakNumbers) {
	t := s.r.T
	web, tcp := peer.StartHTTPLoad(s.r, webURL, 8), peer.StartLoad(s.r, soakTCP, 4)
	for range 10 {
		s.fault()
		n.Faults++
		web.Progress(20)
		tcp.Progress(5)
	}
	s.r.Write("rds.yaml", soakShares(1, 1))
	s.endpoints("8001", "8003")
	mended(s.r, s.a)
	web.Progress(50)
	for _, rep := range []peer.Report{web.Stop(), tcp.Stop()} {
		n.Requests, n.Failed, n.Wrong = n.Requests+rep.OK, n.Failed+rep.Failed, n.Wrong+rep.Wrong
		for _, explained := range []string{"status 503", "status 502", "status 504", "early end", "connection reset by peer", "broken pipe",
			"connection refused", "transport endpoint is not connected"} {
			delete(rep.Errors, explained)
		}
		if rep.Wrong != 0 || len(rep.Errors) != 0 {
			t.Errorf("what no fault explains: %+v", rep)
		}
	}
}

// fault breaks or edits one thing. What it breaks is whole again when it returns.
func (s *soak) fault() {
	address := soakServers[s.draw.IntN(len(soakServers))]
	switch s.draw.IntN(7) {
	case 0: // a server dies
		s.servers[address].Kill()
		time.Sleep(time.Duration(s.draw.IntN(200)) * time.Millisecond) // it is missed for a while
		s.serve(address)
	case 1: // a server stops to answer for a while
		s.servers[address].Signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(s.draw.IntN(400)) * time.Millisecond)
		s.servers[address].Signal(syscall.SIGCONT)
	case 2:
		a := s.draw.IntN(4)
		s.r.Write("rds.yaml", soakShares(a, 4-a))
	case 3:
		s.endpoints([]string{"8001", "8003", "8004"}[s.draw.IntN(3):]...)
	case 4: // a bad edit: what was there goes on
		s.r.Write("rds.yaml", soakShares(0, 0)+"  no_such_field: 1\n")
		broken(s.r, s.a, filepath.Join(s.r.Dir, "rds.yaml"))
		s.r.Write("rds.yaml", soakShares(1, 1))
	case 5: // clients die
		peer.StartHTTPLoad(s.r, webURL, 8).Kill()
	case 6:
		peer.StartLoad(s.r, soakTCP, 8).Kill()
	}
}

// idle waits until nothing is under way.
func (s *soak) idle() {
	s.r.T.Helper()
	s.r.Until(30*time.Second, "nothing is under way", func() bool {
		st := s.a.Stats()
		return st["http.web.downstream_rq_active"]+st["http.web.downstream_cx_active"]+st["cluster.a.upstream_rq_active"]+
			st["cluster.b.upstream_rq_active"]+st["cluster.echo.upstream_cx_active"]+st["cluster.a.upstream_rq_pending_active"]+
			st["cluster.b.upstream_rq_pending_active"] == 0
	})
}

const soakConfig = `node: {id: test, cluster: test}
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
          rds: {route_config_name: web, config_source: {path_config_source: {path: "ROUTES"}}}
          http_filters:
          - name: envoy.filters.http.header_mutation
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: {request_mutations: [{append: {header: {key: x-soak, value: "1"}}}]}}
          - name: envoy.filters.http.fault
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, abort: {http_status: 503, percentage: {numerator: 1}}}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  - name: echo
    address: {socket_address: {address: 10.99.0.1, port_value: 7}}
    bind_to_port: false
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: echo, cluster: echo}
  clusters:
  - name: a
    type: EDS
    eds_cluster_config: {eds_config: {path_config_source: {path: "ENDPOINTS"}}}
    connect_timeout: 1s
    common_http_protocol_options: {idle_timeout: 5s}
  - name: b
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    common_http_protocol_options: {idle_timeout: 5s}
    load_assignment: {cluster_name: b, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8002}}}}]}]}
  - name: echo
    connect_timeout: 1s
    load_assignment: {cluster_name: echo, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 7001}}}}, {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 7002}}}}]}]}
`
