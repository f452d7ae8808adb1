// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// connectionLimit turns away what is too much for one chain (Envoy: filters/network/connection_limit).
type connectionLimit struct {
	config *mesh.ConnectionLimit
	stats  *connectionLimitStats
	open   atomic.Int64 // those that wait for their end included
}

// connectionLimitStats are shared by all limits of a prefix.
type connectionLimitStats struct {
	active  gauge
	limited counter
}

// enter counts a connection; false: it is one too many.
func (l *connectionLimit) enter() bool {
	l.stats.active.Add(1)
	if n := l.open.Add(1); n > 0 && uint64(n) > l.config.Max {
		l.stats.limited.Add(1)
		return false
	}
	return true
}

func (l *connectionLimit) leave() {
	l.open.Add(-1)
	l.stats.active.Add(-1)
}

// admit asks the limits of the chain; a connection that was turned away has been held as long as they want. The caller calls
// leave when the connection has ended.
func (c *chain) admit(conn *net.TCPConn) (ok bool, leave func()) {
	var entered []*connectionLimit
	leave = func() {
		for _, l := range entered {
			l.leave()
		}
	}
	for _, l := range c.limits {
		ok := l.enter()
		entered = append(entered, l)
		if !ok {
			c.hold(conn, l.config.Delay)
			return false, leave
		}
	}
	return true, leave
}

// held is a connection that is turned away a little later.
type held struct {
	conn *net.TCPConn
	over chan struct{}
	once sync.Once
}

// retire implements connection.
func (h *held) retire() {}

// cut implements connection.
func (h *held) cut() { h.once.Do(func() { close(h.over) }) }

// hold waits for d, or for the client to go: what it sends is not looked at. With TCP behind it, a client that sends no more
// has not gone.
func (c *chain) hold(conn *net.TCPConn, d time.Duration) {
	if d == 0 {
		return
	}
	h := &held{conn: conn, over: make(chan struct{})}
	c.add(h)
	defer c.remove(h)
	_ = conn.SetReadDeadline(time.Now().Add(d)) // a closed socket is seen by the read
	timer := time.NewTimer(d)
	defer timer.Stop()
	gone := make(chan bool, 1)
	go func() {
		_, err := io.Copy(io.Discard, readerOnly{conn})
		gone <- err != nil && !timedOut(err) || err == nil && c.config.TCP == nil
	}()
	for {
		select {
		case <-timer.C:
			return
		case <-h.over:
			conn.Close()
			return
		case over := <-gone:
			if over {
				return
			}
		}
	}
}
