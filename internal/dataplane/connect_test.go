// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

func TestRoundRobinIsExact(t *testing.T) {
	r := newRig(t, Options{})
	a := serve(t, nil, "tcp4", "127.0.0.1:0", "a")
	b := serve(t, nil, "tcp4", "127.0.0.1:0", "b")
	c := serve(t, nil, "tcp4", "127.0.0.1:0", "c")
	_, share := r.cluster("abc", a, b, c)
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	got := map[string]int{}
	for range 30 {
		got[cl.who("10.1.2.3:80")]++
	}
	if got["a"] != 10 || got["b"] != 10 || got["c"] != 10 {
		t.Errorf("30 connects went to %v", got)
	}
	if got := cl.who(a.String()); got != "a" || r.counter(kern.CCounterCOUNT_PASS_LISTENER) != 1 {
		t.Errorf("an address that no listener owns reached %q", got)
	}
}

func TestWeights(t *testing.T) {
	r := newRig(t, Options{})
	_, a := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	_, b := r.cluster("b", serve(t, nil, "tcp4", "127.0.0.1:0", "b"))
	a.Weight, b.Weight = 90, 10
	r.listener("10.1.2.3:80", a, b)
	r.put()
	cl := r.client(nil)
	const n = 1000
	got := map[string]int{}
	for range n {
		got[cl.who("10.1.2.3:80")]++
	}
	if got["a"]+got["b"] != n || math.Abs(float64(got["a"])-0.9*n) > 6*math.Sqrt(0.9*0.1*n) {
		t.Errorf("%d connects with weights 90 and 10 went to %v", n, got)
	}
}

func TestNames(t *testing.T) {
	r := newRig(t, Options{})
	s4 := serve(t, nil, "tcp4", "127.0.0.1:0", "four")
	s6 := serve(t, nil, "tcp6", "[::1]:0", "six")
	_, four := r.cluster("four", s4)
	_, six := r.cluster("six", s6)
	r.listener("10.1.2.3:80", four)
	r.listener("[2001:db8::1]:80", six)
	r.listener("127.0.0.1:7", four)
	r.listener("[::1]:7", six)
	r.put()
	cl := r.client(nil)
	for _, c := range []struct{ dial, shown, local, server string }{
		{"10.1.2.3:80", "10.1.2.3:80", "127.0.0.1", "four"},
		{"[2001:db8::1]:80", "[2001:db8::1]:80", "::1", "six"},
		{"[::ffff:10.1.2.3]:80", "[::ffff:10.1.2.3]:80", "::ffff:127.0.0.1", "four"},
		{"127.0.0.1:7", "127.0.0.1:7", "127.0.0.1", "four"},
		{"0.0.0.0:7", "127.0.0.1:7", "127.0.0.1", "four"},
		{"[::]:7", "[::1]:7", "::1", "six"},
		{"[::ffff:127.0.0.1]:7", "[::ffff:127.0.0.1]:7", "::ffff:127.0.0.1", "four"},
	} {
		fd, errno := cl.dial(c.dial)
		if errno != 0 {
			t.Errorf("connect to %s: %v", c.dial, errno)
			continue
		}
		n := cl.must(order{Op: "names", FD: fd})
		if n.Peer.String() != c.shown || n.Local.Addr().String() != c.local || n.Local.Port() == 0 {
			t.Errorf("connect to %s: getpeername %s, getsockname %s; want %s and %s", c.dial, n.Peer, n.Local, c.shown, c.local)
		}
		if got := cl.must(order{Op: "drain", FD: fd}).Data; got != c.server {
			t.Errorf("connect to %s reached %q, want %q", c.dial, got, c.server)
		}
		cl.close(fd)
	}
}

func TestNonBlocking(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	_, nobody := r.cluster("nobody", netip.MustParseAddrPort("127.0.0.1:1"))
	r.listener("10.1.2.3:80", share)
	r.listener("10.1.2.3:81", nobody)
	r.put()
	cl := r.client(nil)
	fd := cl.must(order{Op: "socket", Flags: unix.SOCK_NONBLOCK}).FD
	if errno := cl.connect(fd, "10.1.2.3:80"); errno != unix.EINPROGRESS {
		t.Errorf("non-blocking connect: %v", errno)
	}
	if a := cl.do(order{Op: "finish", FD: fd}); a.Errno != 0 {
		t.Errorf("end of the non-blocking connect: %v", a.Errno)
	}
	if errno := cl.connect(fd, "10.1.2.3:80"); errno != unix.EISCONN && errno != 0 {
		t.Errorf("asked again: %v", errno)
	}
	if n := cl.must(order{Op: "names", FD: fd}); n.Peer.String() != "10.1.2.3:80" {
		t.Errorf("getpeername: %v", n.Peer)
	}
	cl.close(fd)
	fd = cl.must(order{Op: "socket", Flags: unix.SOCK_NONBLOCK}).FD
	if errno := cl.connect(fd, "10.1.2.3:81"); errno != unix.EINPROGRESS {
		t.Errorf("non-blocking connect to nobody: %v", errno)
	}
	if a := cl.do(order{Op: "finish", FD: fd}); a.Errno != unix.ECONNREFUSED {
		t.Errorf("end of the connect to nobody: %v", a.Errno)
	}
	cl.close(fd)
}

func TestRefusals(t *testing.T) {
	r := newRig(t, Options{})
	_, empty := r.cluster("empty")
	tomb, dead := r.cluster("dead", serve(t, nil, "tcp4", "127.0.0.1:0", "dead"))
	tomb.Tombstone = true
	r.listener("10.1.2.3:80", empty)
	r.listener("10.1.2.3:81", dead)
	r.listener("10.1.2.3:82").Tombstone = "not supported"
	r.listener("10.1.2.3:83").Tier = table.TierProxy
	r.put()
	cl := r.client(nil)
	for _, c := range []struct {
		addr    string
		counter kern.CCounter
	}{
		{"10.1.2.3:80", kern.CCounterCOUNT_REFUSED_NO_ENDPOINT},
		{"10.1.2.3:81", kern.CCounterCOUNT_REFUSED_NO_ENDPOINT},
		{"10.1.2.3:82", kern.CCounterCOUNT_REFUSED_TOMBSTONE},
		{"10.1.2.3:83", kern.CCounterCOUNT_REFUSED_NO_PARK},
	} {
		before := r.counter(c.counter)
		fd, errno := cl.dial(c.addr)
		if errno != unix.ECONNREFUSED {
			t.Errorf("connect to %s: %v", c.addr, errno)
		}
		if n := r.counter(c.counter) - before; n != 1 {
			t.Errorf("connect to %s: counter %d grew by %d", c.addr, c.counter, n)
		}
		cl.close(fd)
	}
}

// A socket may be connected again after a failure: every attempt is placed and counted.
func TestConnectAgain(t *testing.T) {
	r := newRig(t, Options{})
	_, nobody := r.cluster("nobody", netip.MustParseAddrPort("127.0.0.1:1"))
	_, nobody6 := r.cluster("nobody6", netip.MustParseAddrPort("[::1]:1"))
	r.listener("10.1.2.3:80", nobody)
	r.listener("[2001:db8::1]:80", nobody6)
	r.put()
	cl := r.client(nil)
	for i, addr := range []string{"10.1.2.3:80", "[2001:db8::1]:80"} {
		fd := cl.socket(v6Dial(addr))
		for range 3 {
			if errno := cl.connect(fd, addr); errno != unix.ECONNREFUSED {
				t.Errorf("connect to %s: %v", addr, errno)
			}
		}
		cl.close(fd)
		id := uint32(i + 1)
		if f := r.flow(id, id, id); f.Picked != 3 || f.Attempted != 3 || f.Failed.Refused != 3 || f.Opened != 0 || active(&f) != 0 {
			t.Errorf("%s: %+v", addr, f)
		}
	}
}

// A route that does not exist fails before the SYN: picked but not attempted.
func TestUnroutable(t *testing.T) {
	r := newRig(t, Options{})
	ns := newNamespace(t)
	_, share := r.cluster("far", netip.MustParseAddrPort("203.0.113.1:80"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(ns)
	fd, errno := cl.dial("10.1.2.3:80")
	if errno != unix.ENETUNREACH {
		t.Errorf("connect: %v", errno)
	}
	if f := r.flow(1, 1, 1); f.Picked != 1 || f.Attempted != 0 {
		t.Errorf("%+v", f)
	}
	cl.close(fd)
}

func TestBoundSocketsGoToTheAgent(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	// The agent is a server of the test: what it would be sent arrives there.
	addr := serve(t, nil, "tcp4", "127.0.0.1:0", "agent")
	r.listener(addr.String(), share).Bound = true
	r.put()
	cl := r.client(nil)
	dial := func(prepare ...order) string {
		fd := cl.socket(false)
		defer cl.close(fd)
		for _, o := range prepare {
			o.FD = fd
			cl.must(o)
		}
		if errno := cl.connect(fd, addr.String()); errno != 0 {
			return errno.Error()
		}
		return cl.must(order{Op: "drain", FD: fd}).Data
	}
	if got := dial(); got != "a" {
		t.Errorf("a plain socket reached %q", got)
	}
	if got := dial(order{Op: "bind", Addr: netip.MustParseAddrPort("0.0.0.0:0")}); got != "a" {
		t.Errorf("a socket bound to no address reached %q", got)
	}
	if got := dial(order{Op: "bind", Addr: netip.MustParseAddrPort("127.0.0.1:0")}); got != "agent" {
		t.Errorf("a socket bound to an address reached %q", got)
	}
	if got := dial(order{Op: "device", Name: "lo"}); got != "agent" {
		t.Errorf("a socket bound to a device reached %q", got)
	}
	if n := r.counter(kern.CCounterCOUNT_CONNECT_AGENT_BOUND); n != 2 {
		t.Errorf("%d bound sockets were counted", n)
	}
}

func TestMaxConnections(t *testing.T) {
	r := newRig(t, Options{})
	c, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	c.MaxConnections = 2
	agent := serve(t, nil, "tcp4", "127.0.0.1:0", "agent")
	r.listener(agent.String(), share).Bound = true
	r.put()
	cl := r.client(nil)
	var held []int
	for range 2 {
		fd, errno := cl.dial(agent.String())
		if errno != 0 {
			t.Fatal(errno)
		}
		held = append(held, fd)
	}
	if got := cl.who(agent.String()); got != "agent" {
		t.Errorf("over the limit: %q", got)
	}
	if n := r.counter(kern.CCounterCOUNT_CONNECT_AGENT_OVERFLOW); n != 1 {
		t.Errorf("%d connects over the limit were counted", n)
	}
	for _, fd := range held {
		cl.must(order{Op: "drain", FD: fd})
		cl.close(fd)
	}
	eventually(t, "the connections' end", func() bool { return r.words.cluster(1).Load() == 0 })
	if got := cl.who(agent.String()); got != "a" {
		t.Errorf("below the limit again: %q", got)
	}
}

// connect_timeout is bounded by TCP_USER_TIMEOUT only while the handshake lasts, and never over the program's own value.
func TestUserTimeout(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	_, nobody := r.cluster("nobody", netip.MustParseAddrPort("127.0.0.1:1"))
	r.listener("10.1.2.3:80", share)
	r.listener("10.1.2.3:81", nobody)
	r.put()
	cl := r.client(nil)
	for _, own := range []int{0, 1234} {
		for _, addr := range []string{"10.1.2.3:80", "10.1.2.3:81"} {
			fd := cl.socket(false)
			if own != 0 {
				cl.must(order{Op: "set", FD: fd, Proto: unix.TCP_USER_TIMEOUT, Value: own})
			}
			cl.connect(fd, addr)
			if got := cl.must(order{Op: "get", FD: fd, Proto: unix.TCP_USER_TIMEOUT}).Value; got != own {
				t.Errorf("%s: TCP_USER_TIMEOUT is %d after the connect, was %d", addr, got, own)
			}
			cl.close(fd)
		}
	}
}
