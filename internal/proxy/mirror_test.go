// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// deaf is a server that reads nothing.
func deaf(t *testing.T) (l net.Listener, accepted chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan net.Conn, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for len(accepted) > 0 {
			(<-accepted).Close()
		}
	})
	return l, accepted
}

// mirrored is a proxy that sends all to s and copies to a deaf server.
func mirrored(t *testing.T, s *server) (*rig, *client, chan net.Conn) {
	t.Helper()
	l, accepted := deaf(t)
	r := newRig(t, 100*time.Millisecond)
	at := freeAddress(t)
	web := routeTo(at, "blue")
	a := web.Chains[0].HTTP.RouteConfig.VirtualHosts[0].Routes[0].Forward
	a.Mirrors, a.BufferLimit = []mesh.Mirror{{Cluster: "deaf"}}, 64<<10
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{web}, Clusters: []*mesh.Cluster{
		clusterOf("blue", s.address), clusterOf("deaf", l.Addr().(*net.TCPAddr).AddrPort())}})
	return r, dial(t, at), accepted
}

// Nobody waits for a copy whose request has ended, and a draining proxy does not for longer than for anything else.
func TestMirrorThatIsNeverAnswered(t *testing.T) {
	_, c, accepted := mirrored(t, newServer(t, say("hello")))
	for range 3 {
		c.send(get)
		c.want(200, "hello")
	}
	for range 3 {
		conn := <-accepted
		defer conn.Close()
	}
}

// A copy that does not keep up holds its request back, so that memory is bounded; when it is over, the request goes on.
func TestMirrorThatDoesNotKeepUp(t *testing.T) {
	const size = 64 << 20 // more than sockets hold
	var got atomic.Int64
	r, c, accepted := mirrored(t, newServer(t, func(w http.ResponseWriter, q *http.Request) {
		n, _ := io.Copy(io.Discard, io.TeeReader(q.Body, writerFunc(func(b []byte) { got.Add(int64(len(b))) })))
		fmt.Fprint(w, n)
	}))
	sent := make(chan error, 1)
	go func() {
		_, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: %d\r\n\r\n", size)
		for left := size; left > 0 && err == nil; left -= 1 << 20 {
			_, err = c.Write(make([]byte, 1<<20))
		}
		sent <- err
	}()
	conn := <-accepted
	last := int64(-1)
	eventually(t, "the request is held back", func() bool {
		time.Sleep(200 * time.Millisecond) // between two looks
		now := got.Load()
		still := now == last && now > 0
		last = now
		return still
	})
	if last >= size {
		t.Fatal("the request was not held back")
	}
	if n := inMirrors(&r.p.mirrors); n > 128<<10 {
		t.Errorf("%d bytes wait", n)
	}
	conn.Close()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.want(200, fmt.Sprint(size))
}

// inMirrors is how much content the mirrors hold.
func inMirrors(s *mirrors) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.all {
		m.mu.Lock()
		n += len(m.waiting)
		m.mu.Unlock()
	}
	return n
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }
