// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// leg is one upstream HTTP/1.1 connection. Whoever has acquired it owns it alone, except that reading and writing may
// happen in two goroutines.
type leg struct {
	pool   *pool
	conn   *wire
	words  *gauge
	opened time.Time
	dialed time.Time
	local  netip.AddrPort
	id     uint64

	in       *http1.Reader
	out      outlet
	read     deadline
	write    deadline
	response http1.Response
	body     http1.Body

	maxHead, maxFields int // of a response's head, in bytes and in fields

	served    uint32
	age       int // of the pool when it was opened
	idleSince time.Time

	look   func(fd uintptr) // peek, bound once
	looked syscall.Errno
	peeked byte
}

func newLeg(p *pool, conn *net.TCPConn, words *gauge, dialed time.Time) *leg {
	l := &leg{pool: p, conn: newWire(conn), words: words, opened: time.Now(), dialed: dialed, local: addressOf(conn.LocalAddr()), id: legIDs.Add(1)}
	config := p.cluster.view.Load().config
	l.maxHead = cmp.Or(int(config.MaxResponseHeadersKiB)<<10, http1.MaxResponseHead)
	l.maxFields = cmp.Or(int(config.MaxResponseHeadersCount), http1.MaxResponseFields)
	l.in = http1.NewReader(l)
	l.read.set, l.write.set = conn.SetReadDeadline, conn.SetWriteDeadline
	l.out.init(l.conn, l.sent)
	// If the agent dies, the server must not take the end of a request for its end.
	_ = conn.SetLinger(0)
	l.look = l.peek
	return l
}

// Read implements io.Reader and counts. A reset ends what the server says as a close does (Envoy: codec_client.cc, onEvent).
func (l *leg) Read(b []byte) (int, error) {
	n, err := l.conn.Read(b)
	l.pool.host.rx.Add(uint64(n))
	l.pool.cluster.stats.cxRx.Add(uint64(n))
	if err != nil && errors.Is(err, unix.ECONNRESET) {
		err = io.EOF
	}
	return n, err
}

func (l *leg) sent(n int64) {
	l.pool.host.tx.Add(uint64(n))
	l.pool.cluster.stats.cxTx.Add(uint64(n))
}

// alive says that the server has neither closed an idle leg nor sent something unasked.
func (l *leg) alive() bool {
	if len(l.in.Buffered()) > 0 || l.conn.raw.Control(l.look) != nil {
		return false
	}
	return l.looked == unix.EAGAIN
}

// peek asks the socket for a byte without taking it or waiting for it.
func (l *leg) peek(fd uintptr) {
	// unix.Recvfrom allocates an address each time.
	_, _, l.looked = unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&l.peeked)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
}

// begin counts a request that goes out on the leg.
func (l *leg) begin() {
	h, c := l.pool.host, l.pool.cluster
	h.active.Add(1)
	h.rqActive.Add(1)
	h.rqTotal.Add(1)
	c.stats.rqTotal.Add(1)
	c.stats.rqActive.Add(1)
	l.served++
}

// end counts what begin has begun and gives the leg back, or closes it if it cannot serve again.
func (l *leg) end(again bool, took time.Duration) {
	h, c := l.pool.host, l.pool.cluster
	h.active.Add(-1)
	h.rqActive.Add(-1)
	l.pool.flight.requests.Add(-1)
	c.stats.rqActive.Add(-1)
	c.stats.rqTime.add(took)
	config := c.view.Load().config
	limit := config.MaxRequestsPerConnection
	switch {
	case !again:
		l.pool.drop(l)
	case limit > 0 && l.served >= limit:
		c.stats.cxMaxRequests.Add(1)
		l.pool.drop(l)
	case config.MaxConnectionDuration > 0 && time.Since(l.opened) >= config.MaxConnectionDuration:
		c.stats.cxMaxDuration.Add(1)
		l.pool.drop(l)
	default:
		l.out.idle()
		l.pool.release(l)
	}
}

// close ends the connection in order.
func (l *leg) close() {
	_ = l.conn.SetLinger(-1)
	l.abort()
}

// abort ends it with a reset if anything is unsaid.
func (l *leg) abort() {
	l.conn.Close()
	l.pool.cluster.closed(l.pool.host, l.words, l.opened)
	l.in.Idle()
}
