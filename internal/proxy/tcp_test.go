// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// echoServer sends back what comes, connection by connection.
func echoServer(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 1<<10)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					c.Write(b[:n])
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func tcpTo(address netip.AddrPort, cluster string, change func(*mesh.TCPProxy)) *mesh.Listener {
	p := &mesh.TCPProxy{StatPrefix: "web", MaxConnectAttempts: 1, Clusters: []mesh.WeightedCluster{{Name: cluster, Weight: 1}}}
	change(p)
	return listenerOf(address, &mesh.FilterChain{TCP: p})
}

func (c *client) line(text string) {
	c.Helper()
	if got, err := c.r.ReadString('\n'); err != nil || got != text+"\n" {
		c.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

func TestNoDataNoConnection(t *testing.T) {
	r := newRig(t, time.Second)
	at := freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{tcpTo(at, "a", func(p *mesh.TCPProxy) { p.AwaitData = true })},
		Clusters: []*mesh.Cluster{clusterOf("a", echoServer(t))}})
	c := dial(t, at)
	c.CloseWrite()
	c.ends()
	if n := r.stat("cluster.a.upstream_cx_total"); n != 0 {
		t.Errorf("%d connections to the upstream", n)
	}
	c = dial(t, at)
	c.send("hello\n")
	c.CloseWrite() // what came before counts
	c.line("hello")
	c.ends()
}

// Who waits for room at a host gets it when another connection ends; who is reset meanwhile leaves the line, and who has only
// ended its direction does not.
func TestWaitingForRoom(t *testing.T) {
	r := newRig(t, time.Second)
	at := freeAddress(t)
	one := uint32(1)
	cluster := clusterOf("a", echoServer(t))
	cluster.Breakers.PerHost = &one
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{tcpTo(at, "a", func(*mesh.TCPProxy) {})}, Clusters: []*mesh.Cluster{cluster}})
	waiting := func(n uint64) func() bool {
		return func() bool { return r.stat("cluster.a.upstream_rq_pending_active") == n }
	}
	holds := dial(t, at)
	holds.send("first\n")
	holds.line("first")
	left := dial(t, at)
	eventually(t, "one waits", waiting(1))
	half := dial(t, at)
	half.send("second\n")
	half.CloseWrite()
	eventually(t, "two wait", waiting(2))
	left.SetLinger(0)
	left.Close()
	eventually(t, "one leaves", waiting(1))
	if n := r.stat("cluster.a.upstream_rq_cancelled"); n != 1 {
		t.Errorf("%d cancelled", n)
	}
	holds.Close()
	half.line("second")
	half.ends()
	eventually(t, "all ended", func() bool { return r.stat("cluster.a.upstream_cx_active") == 0 })
	again := dial(t, at)
	again.send("third\n")
	again.line("third")
}

// A pause between attempts ends when the client resets the connection.
func TestPauseBetweenAttempts(t *testing.T) {
	r := newRig(t, time.Second)
	at := freeAddress(t)
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{tcpTo(at, "a", func(p *mesh.TCPProxy) {
		p.MaxConnectAttempts, p.BackOffBase, p.BackOffMax = 1000, time.Hour, time.Hour
	})}, Clusters: []*mesh.Cluster{clusterOf("a", freeAddress(t))}})
	c := dial(t, at)
	eventually(t, "the first attempt", func() bool { return r.stat("cluster.a.upstream_cx_connect_fail") == 1 })
	c.SetLinger(0)
	c.Close()
	eventually(t, "the connection has ended", func() bool {
		return r.stat("listener."+at.Addr().String()+fmt.Sprintf("_%d", at.Port())+".downstream_cx_active") == 0
	})
	if n := r.stat("cluster.a.upstream_cx_connect_fail"); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

func TestTCPIsNotPreconnected(t *testing.T) {
	r := newRig(t, time.Second)
	at := freeAddress(t)
	cluster := clusterOf("a", echoServer(t))
	cluster.PreconnectRatio = 3
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{tcpTo(at, "a", func(*mesh.TCPProxy) {})}, Clusters: []*mesh.Cluster{cluster}})
	c := dial(t, at)
	c.send("hello\n")
	c.line("hello")
	if n := r.stat("cluster.a.upstream_cx_total"); n != 1 {
		t.Errorf("%d connections for one client", n)
	}
}
