// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"net"
)

// turnedAway counts a connection that a filter ended before the last one saw it.
func (c *chain) turnedAway() {
	switch {
	case c.tcp != nil:
		c.tcp.total.Add(1)
	case c.http != nil:
		c.http.cxTotal.Add(1)
		c.http.cxDestroy.Add(1)
	}
}

// answerDirectly says one thing and ends the connection (Envoy: filters/network/direct_response).
func (c *chain) answerDirectly(conn *net.TCPConn) {
	h := waiting{conn}
	c.add(h)
	defer c.remove(h)
	if d := c.config.Direct.Body; len(d) > 0 {
		_, _ = conn.Write(d) // whoever has gone does not miss it
	}
}

// echo sends back what comes (Envoy: filters/network/echo).
func (c *chain) echo(conn *net.TCPConn) {
	h := waiting{conn}
	c.add(h)
	defer c.remove(h)
	if _, err := io.Copy(conn, readerOnly{conn}); err != nil && !errors.Is(err, net.ErrClosed) {
		_ = conn.SetLinger(0) // not the end of the data
	}
}
