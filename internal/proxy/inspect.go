// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/mesh"
)

// inspector is a listener filter at work on one connection (Envoy: arch_overview/listeners/listener_filters).
type inspector interface {
	// look judges what has come, from the first byte on; it is asked again when there is more. drop is how many bytes are
	// taken off the connection before anybody else sees it.
	look(data []byte, a *arrival) (then judgement, drop int)
	// most bounds what may be needed, in bytes.
	most() int
}

// judgement is what a listener filter says.
type judgement int

const (
	goAhead judgement = iota // to the next filter
	wait                     // for more bytes
	turnOff                  // close the connection
)

// filters are the listener's, for one connection.
func (v *version) filters() []inspector {
	var all []inspector
	for i, f := range v.listener.Filters {
		switch {
		case f.TLS != nil:
			all = append(all, &tlsInspector{config: f.TLS, stats: v.inspected})
		case f.HTTP:
			all = append(all, httpInspector{v.inspected})
		case f.Proxy != nil:
			all = append(all, &proxyProtocol{config: f.Proxy, stats: v.proxied[i]})
		}
	}
	return all
}

// waiting is a connection whose listener filters still look at it.
type waiting struct{ *net.TCPConn }

// retire implements connection: it goes on until it is cut.
func (waiting) retire() {}

// cut implements connection.
func (w waiting) cut() { w.Close() }

// inspect lets the listener's filters look at a connection; false: it ends here.
func (v *version) inspect(conn *net.TCPConn, a *arrival) bool {
	filters := v.filters()
	if len(filters) == 0 {
		return true
	}
	w := waiting{conn}
	v.add(w)
	v.stats.waiting.Add(1)
	defer func() {
		v.stats.waiting.Add(-1)
		v.remove(w)
	}()
	if t := v.listener.FiltersTimeout; t > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(t)) // a closed socket is seen by the next read
		defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	}
	p := peeker{conn: conn}
	for _, f := range filters {
		if _, http := f.(httpInspector); http && a.transport != rawBuffer {
			continue
		}
		for {
			then, drop := wait, 0
			if len(p.data) > 0 {
				then, drop = f.look(p.data, a)
			}
			if then == turnOff || then == goAhead && p.drop(drop) != nil {
				return false
			}
			if then == goAhead {
				break
			}
			if err := p.more(f.most()); err != nil {
				return v.uninspected(err)
			}
		}
	}
	return true
}

// uninspected counts why nothing more came; true: the connection goes on without.
func (v *version) uninspected(err error) bool {
	switch {
	case timedOut(err):
		v.stats.filterTimeout.Add(1)
		return v.listener.ContinueOnFiltersTimeout
	case errors.Is(err, errHungUp):
		v.stats.filterClosed.Add(1)
	default:
		v.stats.filterError.Add(1)
	}
	return false
}

// rawBuffer is the transport protocol of what is not TLS.
const rawBuffer = "raw_buffer"

var errHungUp = errors.New("the client has gone")

// peeker looks at what a client sent without taking it: who serves the connection reads it again.
type peeker struct {
	conn *net.TCPConn
	data []byte // what is known of it
	buf  []byte
}

// more waits until there are more bytes than before, up to most.
func (p *peeker) more(most int) error {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	if len(p.data) >= len(p.buf) {
		p.buf = make([]byte, min(most, max(2*len(p.data), 1<<10)))
	}
	buf := p.buf[:min(most, len(p.buf))]
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK)
		switch {
		case errors.Is(failed, syscall.EAGAIN), errors.Is(failed, syscall.EINTR):
			failed = nil
			return false
		case failed != nil:
			return true
		case n == 0 || n == len(p.data) && hungUp(int(fd)):
			failed = errHungUp
			return true
		}
		return n > len(p.data)
	})
	if err != nil {
		return err
	}
	if failed == nil {
		p.data = buf[:n]
	}
	return failed
}

// hungUp says that the peer will send no more than what lies here.
func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// drop takes n bytes off the connection that were looked at.
func (p *peeker) drop(n int) error {
	for got := 0; got < n; {
		k, err := p.conn.Read(p.data[got:n])
		if err != nil {
			return err
		}
		got += k
	}
	p.data = p.data[n:]
	return nil
}

// tlsInspector finds out what a TLS client asks for (Envoy: filters/listener/tls_inspector).
type tlsInspector struct {
	config *mesh.TLSInspector
	stats  *inspectorStats
}

func (t *tlsInspector) most() int { return int(t.config.MaxClientHello) }

func (t *tlsInspector) look(data []byte, a *arrival) (judgement, int) {
	s := t.stats
	switch hello, err := parseClientHello(data); {
	case err == nil:
		s.tlsFound.Add(1)
		count(hello.serverName != "", &s.sniFound, &s.sniNotFound)
		count(hello.alpn, &s.alpnFound, &s.alpnNotFound)
		a.transport, a.serverName = "tls", hello.serverName
		if hello.alpn {
			a.protocols = hello.protocols
		}
	case errors.Is(err, errVersion):
		s.tlsNotFound.Add(1)
		count(hello.serverName != "", &s.sniFound, &s.sniNotFound)
		return turnOff, 0
	case errors.Is(err, errTLSEnd):
		return turnOff, 0
	case errors.Is(err, errHelloShort) && len(data) < t.most():
		return wait, 0
	case errors.Is(err, errHelloShort), t.config.CloseOnErrors && len(data) >= t.most():
		s.helloTooLarge.Add(1)
		return turnOff, 0
	default:
		s.tlsNotFound.Add(1)
		if t.config.CloseOnErrors {
			return turnOff, 0
		}
	}
	return goAhead, 0
}

// count adds to one of two counters.
func count(yes bool, a, b *counter) {
	if !yes {
		a = b
	}
	a.Add(1)
}
