// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// What is answered is compared with Envoy in test/oracle. Here stands what one request and answer do not show.

func TestClientThatLeavesCancelsItsRequest(t *testing.T) {
	for _, how := range []string{"close", "half-close", "reset"} {
		t.Run(how, func(t *testing.T) {
			gone := make(chan struct{})
			s := newServer(t, func(_ http.ResponseWriter, q *http.Request) {
				<-q.Context().Done()
				close(gone)
			})
			r, at := newRig(t, time.Second), freeAddress(t)
			r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
			c := dial(t, at)
			c.send(get)
			eventually(t, "request under way", func() bool { return r.stat("cluster.blue.upstream_rq_active") == 1 })
			switch how {
			case "close":
				c.Close()
			case "half-close": // Envoy takes it for the end, too
				c.CloseWrite()
			case "reset":
				c.SetLinger(0)
				c.Close()
			}
			select {
			case <-gone:
			case <-time.After(patience):
				t.Fatal("the upstream is not told")
			}
			eventually(t, "nothing active", func() bool {
				return r.stat("cluster.blue.upstream_rq_active") == 0 && r.stat("http.web.downstream_cx_active") == 0 &&
					r.stat("cluster.blue.upstream_cx_active") == 0
			})
		})
	}
}

func TestSlowAnswersWithoutAnyTimeout(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		time.Sleep(3 * watchAfter) // so that the client is watched meanwhile
		io.WriteString(w, "slow")
		http.NewResponseController(w).Flush()
		time.Sleep(3 * watchAfter)
		io.WriteString(w, " and steady")
	})
	r, at := newRig(t, time.Second), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	for range 3 {
		c.send(get)
		c.want(200, "slow and steady")
		c.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc")
		time.Sleep(3 * watchAfter) // so that the rest is read by the second goroutine
		c.send("def")
		c.want(200, "slow and steady")
	}
}

func TestConnectionsFollowConcurrency(t *testing.T) {
	s := newServer(t, say("hello"))
	r, at := newRig(t, time.Second), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	// One after the other, each on a connection of its own: one leg carries all.
	for range 100 {
		c := dial(t, at)
		c.send(get)
		c.want(200, "hello")
		c.Close()
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("100 requests in a row used %d upstream connections, want 1", n)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := dial(t, at)
			for range 100 {
				c.send(get)
				c.want(200, "hello")
			}
		})
	}
	wg.Wait()
	if n := s.conns.Load(); n > 8 {
		t.Errorf("8 clients used %d upstream connections", n)
	}
}

func TestUpdateUnderLoad(t *testing.T) {
	blue, green := newServer(t, say("blue")), newServer(t, say("green"))
	r, at := newRig(t, time.Minute), freeAddress(t)
	clusters := []*mesh.Cluster{clusterOf("blue", blue.address), clusterOf("green", green.address)}
	listener := routeTo(at, "")
	listener.Chains[0].HTTP.RouteConfig, listener.Chains[0].HTTP.RDS = nil, "r"
	set := func(to string) {
		rc := *routeTo(at, to).Chains[0].HTTP.RouteConfig
		rc.Name = "r"
		r.update(&mesh.Scope{Listeners: []*mesh.Listener{listener}, Routes: []*mesh.RouteConfig{&rc}, Clusters: clusters})
	}
	set("blue")
	var stop atomic.Bool
	var wg sync.WaitGroup
	var seen [2]atomic.Int64
	for range 4 {
		wg.Go(func() {
			c := dial(t, at)
			for !stop.Load() {
				c.send(get)
				res, body, err := c.answer()
				if err != nil || res.StatusCode != 200 {
					t.Errorf("a request failed: %v %v", res, err)
					return
				}
				seen[strings.Index("blue green", body)/5].Add(1)
			}
		})
	}
	for i := range 200 {
		set([]string{"green", "blue"}[i%2])
		time.Sleep(time.Millisecond) // so that requests meet every configuration
	}
	stop.Store(true)
	wg.Wait()
	if seen[0].Load() == 0 || seen[1].Load() == 0 {
		t.Errorf("blue answered %d, green %d", seen[0].Load(), seen[1].Load())
	}
	if n := r.stat("http.web.downstream_cx_total"); n != 4 {
		t.Errorf("the clients needed %d connections, want 4: new routes do not end any", n)
	}
}

func TestEndpointsThatLeaveAreDrained(t *testing.T) {
	hold := make(chan struct{})
	old := newServer(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/slow" {
			<-hold
		}
		io.WriteString(w, "old")
	})
	young := newServer(t, say("new"))
	r, at := newRig(t, time.Minute), freeAddress(t)
	listener := routeTo(at, "blue")
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{listener}, Clusters: []*mesh.Cluster{clusterOf("blue", old.address)}})
	slow, quick := dial(t, at), dial(t, at)
	slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
	eventually(t, "a leg of the slow one", func() bool { return old.open.Load() == 1 })
	quick.send(get)
	quick.want(200, "old")
	eventually(t, "two legs", func() bool { return old.open.Load() == 2 })
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{listener}, Clusters: []*mesh.Cluster{clusterOf("blue", young.address)}})
	eventually(t, "the idle leg is closed", func() bool { return old.open.Load() == 1 })
	quick.send(get)
	quick.want(200, "new")
	close(hold)
	slow.want(200, "old")
	eventually(t, "the other one, too", func() bool { return old.open.Load() == 0 })
}

func TestStopDrains(t *testing.T) {
	hold := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) { <-hold; io.WriteString(w, "late") })
	r, at := newRig(t, time.Minute), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	busy, idle := dial(t, at), dial(t, at)
	busy.send(get)
	eventually(t, "request under way", func() bool { return r.stat("cluster.blue.upstream_rq_active") == 1 })
	eventually(t, "two connections", func() bool { return r.stat("http.web.downstream_cx_active") == 2 })
	r.stop()
	idle.ends()
	if c, err := net.DialTimeout("tcp", at.String(), time.Second); err == nil {
		c.Close()
		t.Error("a draining proxy accepts")
	}
	close(hold)
	if res := busy.want(200, "late"); !res.Close {
		t.Error("the last answer does not say that it is the last")
	}
	busy.ends()
	<-r.done
}

func TestDrainTimeCuts(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	s := newServer(t, func(http.ResponseWriter, *http.Request) { <-hold })
	r, at := newRig(t, 100*time.Millisecond), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	c.send(get)
	eventually(t, "request under way", func() bool { return r.stat("cluster.blue.upstream_rq_active") == 1 })
	begun := time.Now()
	r.stop()
	c.ends()
	if d := time.Since(begun); d < 100*time.Millisecond {
		t.Errorf("cut after %v", d)
	}
	<-r.done
}

func TestChangedListenerDrainsItsConnections(t *testing.T) {
	s := newServer(t, say("hello"))
	r, at := newRig(t, time.Nanosecond), freeAddress(t) // each answer is beyond the drain time
	clusters := []*mesh.Cluster{clusterOf("blue", s.address)}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: clusters})
	c := dial(t, at)
	c.send(get)
	if res := c.want(200, "hello"); res.Close {
		t.Fatal("closed without a reason")
	}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: clusters})
	c.ends()
	again := dial(t, at)
	again.send(get)
	again.want(200, "hello")
	r.update(&mesh.Scope{Clusters: clusters})
	again.ends()
	if c, err := net.DialTimeout("tcp", at.String(), time.Second); err == nil {
		c.Close()
		t.Error("a removed listener accepts")
	}
}

func TestSlowReaderHoldsTheUpstreamBack(t *testing.T) {
	const size = 256 << 20
	var written atomic.Int64
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-length", fmt.Sprint(size))
		piece := make([]byte, 64<<10)
		for range size / len(piece) {
			n, err := w.Write(piece)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	r, at := newRig(t, time.Second), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	c.send(get)
	var last int64
	eventually(t, "the upstream stands still", func() bool {
		now := written.Load()
		still := now == last && now > 0
		last = now
		time.Sleep(100 * time.Millisecond) // long beside what a write takes
		return still
	})
	if last > size/4 {
		t.Errorf("the upstream wrote %d bytes that nobody reads", last)
	}
	c.Close()
	eventually(t, "nothing active", func() bool { return r.stat("cluster.blue.upstream_rq_active") == 0 })
}

func TestIdleTimeoutWhileTheClientDoesNotRead(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	r, at := newRig(t, time.Second), freeAddress(t)
	l := routeTo(at, "blue")
	l.Chains[0].HTTP.StreamIdleTimeout = 300 * time.Millisecond
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{l}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	c.send(get)
	eventually(t, "the stream is ended", func() bool { return r.stat("http.web.downstream_rq_idle_timeout") == 1 })
	eventually(t, "nothing active", func() bool { return r.stat("cluster.blue.upstream_cx_active") == 0 })
}

func TestLargeBodiesBothWaysAtOnce(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, q *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, q.Body)
	})
	r, at := newRig(t, time.Second), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	c := dial(t, at)
	go func() {
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n", len(want))
		c.Write(want)
	}()
	_, got, err := c.answer()
	if err != nil || got != string(want) {
		t.Fatalf("%d bytes came back of %d, %v", len(got), len(want), err)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, q *http.Request) { io.WriteString(w, q.URL.Path) })
	r, at := newRig(t, time.Second), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	var all strings.Builder
	for i := range 50 {
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", i)
	}
	c.send(all.String())
	for i := range 50 {
		c.want(200, fmt.Sprintf("/%d", i))
	}
}

func TestServerThatClosesIdleConnections(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	r, at := newRig(t, time.Second), freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{routeTo(at, "blue")}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	c.send(get)
	c.want(200, "hello")
	for _, h := range r.p.state.Load().clusters[mesh.ClusterID{Scope: "/", Name: "blue"}].snapshot() {
		p := &h.pools[mesh.PriorityDefault]
		p.mu.Lock()
		if len(p.idle) != 1 {
			t.Fatalf("%d idle legs", len(p.idle))
		}
		p.idle[0].conn.CloseRead() // as if the server had closed
		p.mu.Unlock()
	}
	c.send(get)
	c.want(200, "hello")
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d upstream connections, want 2", n)
	}
}

func TestParkedSocketIsServed(t *testing.T) {
	s := newServer(t, say("hello"))
	r := newRig(t, time.Second)
	l := routeTo(netip.MustParseAddrPort("10.1.2.3:80"), "blue")
	l.BindToPort = false
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{l}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	parked, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.p.Serve("/", "web", parked)
	at := parked.Addr().(*net.TCPAddr).AddrPort()
	c := dial(t, at)
	c.send(get)
	c.want(200, "hello")
	r.update(&mesh.Scope{}) // the listener goes; the socket is closed by who opened it
	dial(t, at).ends()
	parked.Close()
}

func TestAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := taken.Addr().(*net.TCPAddr).AddrPort()
	s := newServer(t, say("hello"))
	r := newRig(t, time.Second)
	cfg := &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/", Listeners: []*mesh.Listener{routeTo(at, "blue")},
		Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}}}}
	hosts := &mesh.Hosts{Sets: map[mesh.ClusterID]*mesh.HostSet{}}
	errs := r.p.Update(cfg, hosts)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "listener web") || !strings.Contains(errs[0].Error(), "in use") {
		t.Fatalf("got %v", errs)
	}
	taken.Close()
	if errs := r.p.Update(cfg, hosts); errs != nil {
		t.Fatalf("the next try: %v", errs)
	}
}

// A chain that is not supported closes its connections; the others serve.
func TestRefusedChain(t *testing.T) {
	s := newServer(t, say("hello"))
	at := freeAddress(t)
	r := newRig(t, time.Second)
	l := routeTo(at, "blue")
	l.Default = l.Chains[0]
	l.Chains = []*mesh.FilterChain{{Match: mesh.ChainMatch{SourcePrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}},
		Tombstone: "not supported"}}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{l}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	c.send(get)
	c.want(200, "hello")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	other, err := d.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetDeadline(time.Now().Add(patience))
	if n, err := other.Read(make([]byte, 1)); err == nil || timedOut(err) {
		t.Errorf("got %d bytes and %v, want the end", n, err)
	}
}

// One version of a listener drains as a whole, also where only one of its chains has changed.
func TestChangedChainDrainsTheListener(t *testing.T) {
	at := freeAddress(t)
	r := newRig(t, 0)
	kept := &mesh.FilterChain{Echo: true}
	other := func(body string) *mesh.FilterChain {
		return &mesh.FilterChain{Match: mesh.ChainMatch{SourcePorts: []uint16{1}}, Direct: &mesh.DirectBytes{Body: []byte(body)}}
	}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{listenerOf(at, kept, other("a"))}})
	c := dial(t, at)
	c.send("x")
	if b, err := c.r.ReadByte(); err != nil || b != 'x' {
		t.Fatalf("got %q, %v", b, err)
	}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{listenerOf(at, kept, other("b"))}})
	c.ends()
}
