// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/policy"
)

// networkRBAC is envoy.filters.network.rbac (Envoy: extensions/filters/network/rbac/rbac_filter.cc).
type networkRBAC struct {
	config                                       *mesh.NetworkRBAC
	allowed, denied, shadowAllowed, shadowDenied *counter
}

func newNetworkRBAC(c *mesh.NetworkRBAC, stats *extras) *networkRBAC {
	count := func(leaf string) *counter { return stats.rbac(c.StatPrefix, leaf) }
	shadow := dotted(c.ShadowStatPrefix)
	return &networkRBAC{c, count("allowed"), count("denied"), count(shadow + "shadow_allowed"), count(shadow + "shadow_denied")}
}

// passes judges a connection whose first bytes have come; one that may not pass is closed after the time that it returns.
func (c *chain) passes(a *arrival) (time.Duration, bool) {
	s := c.subject(a.direct.Addr(), a.remote.Addr(), a.remote.Addr(), a.local)
	s.ServerName = a.serverName
	for _, j := range c.judges {
		if r := j.config.Shadow; r != nil {
			allowed, _ := policy.Decide(r, &s)
			tally(allowed, j.shadowAllowed, j.shadowDenied)
		}
		if r := j.config.Rules; r != nil {
			allowed, met := policy.Decide(r, &s)
			tally(allowed, j.allowed, j.denied)
			if !allowed {
				a.ending = "rbac_access_denied_matched_policy[" + spacesToUnderscores(cmp.Or(met, "none")) + "]"
				return j.config.Delay, false
			}
		}
	}
	return 0, true
}

// tally counts a verdict.
func tally(allowed bool, yes, no *counter) {
	if allowed {
		yes.Add(1)
	} else {
		no.Add(1)
	}
}

// passes waits for the client's first bytes and has them judged; false: the relay ends.
func (c *tcpConn) passes(r *relay) bool {
	if c.judge == nil {
		return true
	}
	read := deadline{set: c.client.SetReadDeadline}
	defer read.move(time.Time{})
	raw, err := c.client.SyscallConn()
	if err == nil {
		err = r.patiently(&read, func() error { return readable(raw) })
	}
	if err != nil {
		r.end()
		return false
	}
	delay, ok := c.judge()
	if ok {
		return true
	}
	for end := time.Now().Add(delay); time.Now().Before(end) && !r.over.Load() && !c.ended.Load(); {
		time.Sleep(min(time.Until(end), 50*time.Millisecond)) // a bound on how late the other end of the relay is noticed
	}
	c.discard(raw)
	r.end()
	return false
}

// readable waits until there is something to read, or the end.
func readable(raw syscall.RawConn) error {
	var one [1]byte
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		_, _, failed = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK)
		return failed != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	return failed
}

// discard takes what the client has sent, so that closing tells it the end and not of a reset.
func (c *tcpConn) discard(raw syscall.RawConn) {
	_ = raw.Read(func(fd uintptr) bool {
		var b [16 << 10]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT)
		if err == nil {
			c.v.tcp.rx.Add(uint64(n))
			c.received.Add(uint64(n))
		}
		return true
	})
}

// passes waits for the first bytes of an HTTP connection and has them judged; false: it ends.
func (c *httpConn) passes(a *arrival) bool {
	if c.await() != nil {
		return false
	}
	delay, ok := c.v.passes(a)
	if !ok {
		c.v.hold(c.conn.TCPConn, delay)
	}
	return ok
}
