// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// rig runs one session against a server; each result is published to it.
type rig struct {
	server  net.Listener
	stats   Stats
	results chan mesh.Flags
	session *Session
	stop    func()
}

func start(t *testing.T, c *mesh.HealthCheck) *rig {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{server: l, results: make(chan mesh.Flags, 100)}
	c.HealthyThreshold, c.UnhealthyThreshold = 1, 1
	r.session = New(Options{Config: c, Address: netip.MustParseAddrPort(l.Addr().String()), Host: "h", Flags: mesh.FailedActiveCheck,
		Stats: &r.stats, Traffic: func() bool { return true }, Publish: func(f mesh.Flags, _ bool) { r.results <- f }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.session.Run(ctx)
		close(done)
	}()
	r.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(func() {
		r.stop()
		l.Close()
	})
	return r
}

func (r *rig) accept(t *testing.T) net.Conn {
	t.Helper()
	c, err := r.server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *rig) want(t *testing.T, what string, f mesh.Flags) {
	t.Helper()
	select {
	case got := <-r.results:
		if got != f {
			t.Fatalf("%s: flags %b, want %b", what, got, f)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: no result", what)
	}
}

const long = time.Hour

// The end of a connection that is kept for the next TCP check is a failure at once; that of an HTTP check is none.
func TestKeptConnectionEnds(t *testing.T) {
	r := start(t, &mesh.HealthCheck{Timeout: long, Interval: long, UnhealthyInterval: time.Millisecond, ReuseConnection: true,
		TCP: &mesh.TCPCheck{Receive: [][]byte{[]byte("well")}}})
	c := r.accept(t)
	io.WriteString(c, "we")
	io.WriteString(c, "ll")
	r.want(t, "a text in two parts", 0)
	io.WriteString(c, "well")
	r.want(t, "the text again, unasked", 0)
	c.Close()
	r.want(t, "the connection ended", mesh.FailedActiveCheck)
	c = r.accept(t)
	io.WriteString(c, "I am well")
	r.want(t, "the next one", 0)
	r.stop()
	if n := r.stats.Healthy.Load(); n != 0 {
		t.Errorf("healthy is %d after the session", n)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("the connection outlives its session: read %d", n)
	}

	h := start(t, &mesh.HealthCheck{Timeout: long, Interval: 50 * time.Millisecond, ReuseConnection: true,
		HTTP: &mesh.HTTPCheck{Method: "GET", Path: "/", Expected: []mesh.Range{{Start: 200, End: 201}}}})
	for range 2 {
		c := h.accept(t)
		c.Read(make([]byte, 1000))
		io.WriteString(c, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
		h.want(t, "an answer", 0)
		c.Close()
	}
	if n := h.stats.Failure.Load(); n != 0 {
		t.Errorf("%d failures", n)
	}
}

// What comes before it is asked for, or is no HTTP, ends the connection.
func TestOddAnswers(t *testing.T) {
	r := start(t, &mesh.HealthCheck{Timeout: long, Interval: time.Millisecond, UnhealthyInterval: time.Millisecond, ReuseConnection: true,
		HTTP: &mesh.HTTPCheck{Method: "GET", Path: "/", Expected: []mesh.Range{{Start: 200, End: 201}}}})
	const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
	for _, x := range []struct {
		answer string
		want   mesh.Flags
	}{
		{"SSH-2.0-OpenSSH\r\n", mesh.FailedActiveCheck},
		{ok + "more", 0},
		{"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", mesh.FailedActiveCheck},
		{"", mesh.FailedActiveCheck},
		{"HTTP/1.0 200 OK\r\n\r\nok", 0},
	} {
		c := r.accept(t)
		c.Read(make([]byte, 1000))
		io.WriteString(c, x.answer)
		c.(*net.TCPConn).CloseWrite()
		r.want(t, x.answer, x.want)
		c.Close()
	}
}

// A check that gets no answer fails when its time is over, and a session that ends does not wait for it.
func TestTimeout(t *testing.T) {
	r := start(t, &mesh.HealthCheck{Timeout: time.Millisecond, UnhealthyInterval: time.Millisecond, ReuseConnection: true,
		TCP: &mesh.TCPCheck{Receive: [][]byte{[]byte("well")}}})
	r.want(t, "no answer", mesh.FailedActiveCheck|mesh.ActiveCheckTimeout)
	if n := r.stats.NetworkFailure.Load(); n == 0 {
		t.Error("a timeout is no network failure")
	}
	s := start(t, &mesh.HealthCheck{Timeout: long, TCP: &mesh.TCPCheck{Receive: [][]byte{[]byte("well")}}})
	s.accept(t)
	s.stop()
	select {
	case f := <-s.results:
		t.Errorf("the end of the session was published: %b", f)
	default:
	}
}

// A host that says in an answer that it has enough is unhealthy until a check is good.
func TestFail(t *testing.T) {
	r := start(t, &mesh.HealthCheck{Timeout: long, Interval: long, TCP: &mesh.TCPCheck{}})
	r.want(t, "connected", 0)
	r.session.Fail()
	r.want(t, "it has enough", mesh.FailedActiveCheck|mesh.ExcludedByActiveCheck)
	if p, f := r.stats.PassiveFailure.Load(), r.stats.Failure.Load(); p != 1 || f != 1 {
		t.Errorf("passive_failure %d, failure %d", p, f)
	}
	r.stop()
	r.session.Fail()
	if len(r.results) > 0 {
		t.Error("published after the end")
	}
}

// A server that never says what is waited for is not listened to for ever.
func TestTalkative(t *testing.T) {
	r := start(t, &mesh.HealthCheck{Timeout: long, TCP: &mesh.TCPCheck{Receive: [][]byte{[]byte("well")}}})
	c := r.accept(t)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	const most = 64 << 20
	took := 0
	for took < most {
		n, err := c.Write(make([]byte, 1<<16))
		if took += n; err != nil {
			return
		}
	}
	t.Errorf("it took %d bytes", took)
}
