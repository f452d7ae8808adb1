// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/telemetry"
	"github.com/leno-mesh/leno/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; it is no measure of speed.
const patience = 10 * time.Second

// rig is a running proxy whose configuration the test writes as values.
type rig struct {
	*testing.T
	p    *Proxy
	up   *upstream.Upstream
	stop context.CancelFunc
	done chan struct{}
}

func newRig(t *testing.T, drain time.Duration) *rig {
	t.Helper()
	r := &rig{T: t, done: make(chan struct{}), up: upstream.New(upstream.Options{Log: slog.New(slog.DiscardHandler)})}
	r.p = New(Options{Counts: upstream.NewCounts(), Upstream: r.up, Log: slog.New(slog.DiscardHandler), DrainTime: drain})
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		if err := r.p.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		r.stop()
		select {
		case <-r.done:
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	return r
}

// update brings a scope into force.
func (r *rig) update(sc *mesh.Scope) {
	r.Helper()
	sc.Cgroup = "/"
	cfg := &mesh.Config{Scopes: []*mesh.Scope{sc}}
	r.up.Set(cfg)
	for _, err := range r.p.Update(cfg, r.up.Hosts()) {
		r.Error(err)
	}
}

func clusterOf(name string, at ...netip.AddrPort) *mesh.Cluster {
	c := &mesh.Cluster{Name: name, ConnectTimeout: 5 * time.Second, Endpoints: &mesh.Endpoints{},
		Breakers: mesh.Breakers{MaxConnections: 1024, MaxPendingRequests: 1024, MaxRequests: 1024}}
	for _, a := range at {
		c.Endpoints.Endpoints = append(c.Endpoints.Endpoints, mesh.Endpoint{Address: a, Weight: 1})
	}
	return c
}

// routeTo is a listener that sends everything to one cluster.
func routeTo(address netip.AddrPort, cluster string) *mesh.Listener {
	route := &mesh.Route{Match: mesh.RouteMatch{Path: "/", CaseSensitive: true},
		Forward: &mesh.RouteAction{Clusters: []mesh.WeightedCluster{{Name: cluster, Weight: 1}}, ClusterNotFoundCode: 503}}
	return listenerOf(address, &mesh.FilterChain{HTTP: &mesh.HTTPConnectionManager{StatPrefix: "web",
		MaxRequestHeadersKiB: 60, MaxHeadersCount: 100, GenerateRequestID: true, ServerName: "envoy", DelayedCloseTimeout: time.Second,
		RouteConfig: &mesh.RouteConfig{VirtualHosts: []*mesh.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*mesh.Route{route}}}}}})
}

func listenerOf(address netip.AddrPort, chains ...*mesh.FilterChain) *mesh.Listener {
	return &mesh.Listener{Name: "web", Address: address, BindToPort: true, Chains: chains}
}

// freeAddress is one that nobody listens on just now.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// server is an HTTP upstream that counts its connections.
type server struct {
	address netip.AddrPort
	conns   atomic.Int64 // ever
	open    atomic.Int64
}

func newServer(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: l.Addr().(*net.TCPAddr).AddrPort()}
	srv := &http.Server{Handler: h, ConnState: func(_ net.Conn, st http.ConnState) {
		switch st {
		case http.StateNew:
			s.conns.Add(1)
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return s
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// client is one connection to the proxy.
type client struct {
	*testing.T
	*net.TCPConn
	r *bufio.Reader
}

func dial(t *testing.T, a netip.AddrPort) *client {
	t.Helper()
	c, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.Fatal(err)
	}
}

const get = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"

// answer reads one response; its body is returned as text.
func (c *client) answer() (*http.Response, string, error) {
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

func (c *client) want(status int, body string) *http.Response {
	c.Helper()
	res, got, err := c.answer()
	if err != nil {
		c.Fatalf("no answer: %v", err)
	}
	if res.StatusCode != status || got != body {
		c.Fatalf("got %d %q, want %d %q", res.StatusCode, got, status, body)
	}
	return res
}

// ends waits for the connection's end.
func (c *client) ends() {
	c.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		c.Fatalf("got byte %q, want the end", b)
	} else if strings.Contains(err.Error(), "timeout") {
		c.Fatal("the connection does not end")
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: never", what)
		}
	}
}

// stat reads one statistic.
func (r *rig) stat(name string) uint64 {
	var v uint64
	found := false
	r.p.Collect(func(s telemetry.Sample) {
		if s.Name == name {
			v, found = v+s.Value, true
		}
	})
	if !found {
		panic(fmt.Sprintf("there is no statistic %s", name))
	}
	return v
}
