// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/test/rig"
)

// Clients that mean harm, or have gone: 1,000 of them at a time. What the agent holds for them is bounded, others are served
// meanwhile, and when they are gone nothing stays.

const (
	crowdSize  = 1000
	carriedURL = "127.0.0.1:9080"
	large      = 64 << 20 // bytes of an answer that a slow reader does not read
)

// children are the programs of this package's tests.
func children(all rig.Children) rig.Children {
	all["large-server"] = largeServer
	all["hold"] = hold
	return all
}

// large-server ADDRESS: answers with 64 MiB, to /503 with that status, and to /small with a word.
func largeServer(args []string) error {
	piece := make([]byte, 64<<10)
	return http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/503":
			w.WriteHeader(503)
		case "/small":
			io.WriteString(w, "small")
		default:
			w.Header().Set("content-length", strconv.Itoa(large))
			for range large / len(piece) {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}
	}))
}

// hold KIND: opens the connections, does what KIND says, prints "holding", and waits for SIGTERM.
func hold(args []string) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	var conns []*net.TCPConn
	for range crowdSize {
		c, err := (&net.Dialer{Timeout: rig.Slow(10 * time.Second)}).Dial("tcp", carriedURL)
		if err != nil {
			return err
		}
		conns = append(conns, c.(*net.TCPConn))
	}
	start := map[string]string{
		"readers":   "GET /large HTTP/1.1\r\nhost: a.test\r\n\r\n",
		"slowloris": "GET / HTTP/1.1\r\nhost: a.test\r\nx-slow: ",
		"heads":     "GET / HTTP/1.1\r\nhost: a.test\r\nx-large: " + strings.Repeat("a", 59<<10),
		"silent":    "",
		"vanish":    "",
		"retry":     "GET /503 HTTP/1.1\r\nhost: a.test\r\n\r\n",
	}
	for _, c := range conns {
		if _, err := io.WriteString(c, start[args[0]]); err != nil {
			return err
		}
	}
	fmt.Println("holding")
	switch args[0] {
	case "slowloris":
		for {
			select {
			case <-ended:
				return nil
			case <-time.After(100 * time.Millisecond): // the pace of the attack
			}
			for _, c := range conns {
				_, _ = io.WriteString(c, "a") // that the agent has cut it off is what the test asks for
			}
		}
	case "vanish": // as a host that loses its power: no end, no reset
		for _, c := range conns {
			f, err := c.File()
			if err != nil {
				return err
			}
			if err := unix.SetsockoptInt(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
				return err
			}
			f.Close()
			c.Close()
		}
	}
	<-ended
	if args[0] == "retry" {
		for _, c := range conns {
			c.SetLinger(0)
			c.Close()
		}
	}
	return nil
}

// resident is the memory of the agent in bytes.
func resident(r *rig.Rig, a *rig.Agent) int {
	r.T.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID()))
	if err != nil {
		r.T.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		r.T.Fatal(err)
	}
	return kib << 10
}

// goroutines ends the agent and counts what it ran.
func goroutines(a *rig.Agent) int {
	a.Signal(syscall.SIGQUIT)
	a.Wait(20 * time.Second)
	return strings.Count(a.Output(), "\ngoroutine ")
}

func TestManyBadClients(t *testing.T) {
	for _, c := range []struct {
		kind    string
		held    string // the statistic that shows them, where they stay
		end     bool   // the agent itself gets rid of them
		perPeer int    // bytes that the agent may hold for one
	}{
		// A reader has a buffer of each direction, a head up to 60 KiB needs one of 64 KiB, and goroutines their stacks.
		{"readers", "http.web.downstream_rq_active", false, 256 << 10},
		{"slowloris", "", true, 64 << 10},
		{"heads", "", true, 192 << 10},
		{"silent", "", true, 32 << 10},
		{"vanish", "", true, 32 << 10},
		{"retry", "http.web.downstream_rq_active", false, 128 << 10},
	} {
		if rounds < 10 && c.kind != "readers" {
			continue // the build tag full asks for all
		}
		t.Run(c.kind, func(t *testing.T) {
			r := rig.New(t)
			r.Serve("127.0.0.1:8001", r.Child("large-server", "127.0.0.1:8001"))
			a := r.Agent(r.Write("bootstrap.yaml", carriedConfig), "--tier=proxy")
			small := func() string {
				return r.Run(20*time.Second, rig.Program{Args: []string{"curl", "-s", "--max-time", "15", "http://" + carriedURL + "/small"}})
			}
			if got := small(); got != "small" {
				t.Fatalf("before: %q", got)
			}
			files, before := descriptors(r, a), resident(r, a)
			crowd := r.Start(r.Child("hold", c.kind))
			r.Until(60*time.Second, "the clients are there", func() bool {
				if !crowd.Running() {
					t.Fatalf("the clients ended: %s", crowd.Output())
				}
				return strings.Contains(crowd.Output(), "holding")
			})
			if !c.end {
				r.Until(20*time.Second, "the agent holds all of them", func() bool {
					return a.Stats()[c.held] >= crowdSize
				})
			}
			// The agent goes on reading, and may not collect, for a while.
			peak := 0
			for range 20 {
				peak = max(peak, resident(r, a))
				time.Sleep(100 * time.Millisecond) // between two looks
			}
			if got := small(); got != "small" {
				t.Errorf("beside them: %q", got)
			}
			grown := max(peak, resident(r, a)) - before
			t.Logf("%d KiB for each of %d clients", grown/crowdSize>>10, crowdSize)
			if grown > crowdSize*c.perPeer {
				t.Errorf("%d MiB grown for %d clients, want at most %d KiB for each", grown>>20, crowdSize, c.perPeer>>10)
			}
			if !c.end {
				crowd.Signal(syscall.SIGTERM)
				crowd.Wait(20 * time.Second)
			}
			r.Until(30*time.Second, "nobody is left", func() bool {
				s := a.Stats()
				return s["http.web.downstream_cx_active"]+s["http.web.downstream_rq_active"]+s["cluster.a.upstream_rq_active"] == 0
			})
			if n := a.Stats()["http.web.downstream_cx_total"]; n < crowdSize {
				t.Errorf("the agent saw %d connections", n)
			}
			retries := a.Stats()["cluster.a.upstream_rq_retry"]
			time.Sleep(2 * time.Second) // in which some of the waits would end
			if n := a.Stats()["cluster.a.upstream_rq_retry"]; n != retries {
				t.Errorf("%d retries for clients that had gone", n-retries)
			}
			sameDescriptors(r, a, files+10)
			if n := goroutines(a); n == 0 || n > 60 {
				t.Errorf("%d goroutines at the end", n)
			}
		})
	}
}

// carriedConfig ends by itself what is too slow or idle; a retry waits longer than the test.
const carriedConfig = `node: {id: test, cluster: test}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 9080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          request_headers_timeout: 6s
          common_http_protocol_options: {idle_timeout: 6s}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /503}
                route: {cluster: a, timeout: 0s, retry_policy: {retry_on: 5xx, retry_back_off: {base_interval: 300s, max_interval: 300s}}}
              - match: {prefix: /}
                route: {cluster: a, timeout: 0s}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: a
    common_http_protocol_options: {idle_timeout: 3s}
    circuit_breakers: {thresholds: [{max_connections: 5000, max_pending_requests: 5000, max_requests: 5000, max_retries: 5000}]}
    load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8001}}}}]}]}
`
