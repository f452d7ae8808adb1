// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net"
	"testing"
	"time"
)

// TestEndpointSeesTheClient: the connection is the client's own, with nobody between.
func TestEndpointSeesTheClient(t *testing.T) {
	r := newRig(t, Options{})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, id := r.cluster("c", l.Addr().(*net.TCPAddr).AddrPort())
	r.listener("10.1.2.3:80", id)
	r.put()
	cl := r.client(nil)
	fd, errno := cl.dial("10.1.2.3:80")
	if errno != 0 {
		t.Fatal(errno)
	}
	defer cl.close(fd)
	l.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if own := cl.must(order{Op: "names", FD: fd}).Local; c.RemoteAddr().String() != own.String() {
		t.Errorf("the endpoint sees %s, the client is %s", c.RemoteAddr(), own)
	}
}
