// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/telemetry"
)

var (
	blue    = mesh.ClusterID{Scope: "/", Name: "blue"}
	blueOne = netip.MustParseAddrPort("10.0.0.1:80")
)

// fakeAgent serves one listener and one cluster with one host.
type fakeAgent struct {
	state   status.State
	stopped chan bool
}

func (f *fakeAgent) Status() status.Status { return status.Status{State: f.state, Version: "v1"} }
func (f *fakeAgent) Samples() []telemetry.Sample {
	return []telemetry.Sample{{Name: "cluster.blue.upstream_cx_total", Base: "cluster.upstream_cx_total",
		Labels: []telemetry.Label{{Key: "envoy.cluster_name", Value: "blue"}}, Value: 7}}
}
func (f *fakeAgent) Current() (*mesh.Config, *mesh.Hosts, *table.Tables) {
	c := &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/",
		Listeners: []*mesh.Listener{{Name: "web", Address: netip.MustParseAddrPort("127.0.0.1:8080")}},
		Clusters:  []*mesh.Cluster{{Name: "blue", Breakers: mesh.Breakers{MaxConnections: 1024}}}}}}
	h := &mesh.Host{Address: blueOne, Weight: 3}
	hosts := &mesh.Hosts{Sets: map[mesh.ClusterID]*mesh.HostSet{blue: {Ready: true, All: []*mesh.Host{h}}}}
	return c, hosts, &table.Tables{}
}
func (f *fakeAgent) Endpoints() []telemetry.Endpoint {
	// Two tiers report the same host: the parts are added.
	return []telemetry.Endpoint{{Cluster: blue, Address: blueOne, CxTotal: 5}, {Cluster: blue, Address: blueOne, CxTotal: 2}}
}
func (f *fakeAgent) ReopenLogs() {}

func (f *fakeAgent) SuccessRates(mesh.ClusterID) *mesh.SuccessRates {
	return &mesh.SuccessRates{Average: 200.0 / 3, Threshold: -1, LocalAverage: 100, LocalThreshold: 99.5,
		Hosts: map[netip.AddrPort]mesh.HostRates{netip.MustParseAddrPort("10.0.0.1:80"): {Rate: 200.0 / 3, Local: -1}}}
}
func (f *fakeAgent) Stop(detach bool) { f.stopped <- detach }

// start serves on both sockets and returns clients for them.
func start(t *testing.T, a Agent) (tcp, control func(method, path, host string) (int, string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	path := filepath.Join(t.TempDir(), "admin.sock")
	ul, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode of the control socket: %v, %v", st.Mode(), err)
	}
	tl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(a)
	ended := make(chan error, 2)
	go func() { ended <- s.ServeUnix(ctx, ul) }()
	go func() { ended <- s.ServeTCP(ctx, tl) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	call := func(network, addr string) func(method, path, host string) (int, string) {
		tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
		return func(method, path, host string) (int, string) {
			r, err := http.NewRequest(method, "http://x"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res.StatusCode, string(b)
		}
	}
	return call("tcp", tl.Addr().String()), call("unix", path)
}

func TestReady(t *testing.T) {
	f := &fakeAgent{state: status.Initializing}
	tcp, _ := start(t, f)
	if code, body := tcp("GET", "/ready", "127.0.0.1"); code != 503 || body != "INITIALIZING\n" {
		t.Errorf("before the first configuration: %d %q", code, body)
	}
	f.state = status.Live
	if code, body := tcp("GET", "/ready", "127.0.0.1"); code != 200 || body != "LIVE\n" {
		t.Errorf("live: %d %q", code, body)
	}
}

func TestPages(t *testing.T) {
	tcp, _ := start(t, &fakeAgent{state: status.Live})
	for path, want := range map[string]string{
		"/listeners":               "web::127.0.0.1:8080\n",
		"/clusters":                "blue::10.0.0.1:80::cx_total::7\n",
		"/clusters?format=json":    `"name": "blue"`,
		"/listeners?format=json":   `"port_value": 8080`,
		"/stats":                   "cluster.blue.upstream_cx_total: 7\n",
		"/stats/prometheus":        `envoy_cluster_upstream_cx_total{envoy_cluster_name="blue"} 7`,
		"/stats?format=prometheus": `envoy_cluster_upstream_cx_total{envoy_cluster_name="blue"} 7`,
		"/help":                    "/ready",
	} {
		if code, body := tcp("GET", path, "localhost:9901"); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, no %q in:\n%s", path, code, want, body)
		}
	}
	var st status.Status
	_, body := tcp("GET", "/leno/status", "[::1]:80")
	if err := json.Unmarshal([]byte(body), &st); err != nil || st.Version != "v1" {
		t.Errorf("/leno/status: %v in %s", err, body)
	}
	if code, _ := tcp("GET", "/nothing", "localhost"); code != 404 {
		t.Errorf("unknown path: %d", code)
	}
}

func TestForeignHostIsRefused(t *testing.T) {
	tcp, _ := start(t, &fakeAgent{state: status.Live})
	if code, _ := tcp("GET", "/stats", "evil.example"); code != 403 {
		t.Errorf("a name that an attacker's DNS may point here: %d", code)
	}
}

func TestMutations(t *testing.T) {
	f := &fakeAgent{state: status.Live, stopped: make(chan bool, 1)}
	tcp, control := start(t, f)
	if code, _ := tcp("POST", "/leno/down", "localhost"); code != 404 {
		t.Errorf("mutation over TCP: %d", code)
	}
	if code, _ := control("GET", "/leno/down", "leno"); code != 405 {
		t.Errorf("mutation by GET: %d", code)
	}
	for path, detach := range map[string]bool{"/leno/down": true, "/quitquitquit": false} {
		if code, _ := control("POST", path, "leno"); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
		if got := <-f.stopped; got != detach {
			t.Errorf("%s: detach %t", path, got)
		}
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("living socket: %v", err)
	}
	// A crash leaves the file behind; the next start replaces it.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	l, err = ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
