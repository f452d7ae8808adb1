// SPDX-License-Identifier: Apache-2.0

package proxy

import "sync"

// carried are the TCP connections that go to one host. Safe for concurrent use.
type carried struct {
	mu    sync.Mutex
	conns map[*tcpConn]struct{}
}

func (c *carried) add(t *tcpConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		c.conns = map[*tcpConn]struct{}{}
	}
	c.conns[t] = struct{}{}
}

func (c *carried) remove(t *tcpConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, t)
}

// end ends all of them in order.
func (c *carried) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.conns {
		t.end()
	}
}
