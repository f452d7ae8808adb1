// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// clientLook is how often a client is looked at that waits for its upstream.
const clientLook = 50 * time.Millisecond

// awaitData waits until the client has sent something; false: it has ended without a word.
func awaitData(client *net.TCPConn) (came bool) {
	raw, err := client.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	_ = raw.Read(func(fd uintptr) bool { // an error: the connection was cut
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		came = n > 0
		return err != unix.EAGAIN && err != unix.EINTR
	})
	return came
}

// pause waits; false: the client has left meanwhile.
func (c *tcpConn) pause(d time.Duration) bool {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return true
		}
		time.Sleep(min(left, clientLook))
		if c.ended.Load() || wasReset(c.client) {
			return false
		}
	}
}

// wasReset says whether the peer has reset the connection. That it has ended its direction does not mean that it has left.
func wasReset(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	fds := make([]unix.PollFd, 1) // HUP and ERR are always asked for
	if raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		_, _ = unix.Poll(fds, 0) // an error leaves Revents at 0: then the peer is there
	}) != nil {
		return true
	}
	return fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}
