// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"

	"github.com/leno-mesh/leno/internal/proxy/http1"
)

const (
	// directWrite is from where a piece is not worth copying into the buffer.
	directWrite = 16 << 10
	// keepBuffer is how large a buffer an idle connection may keep.
	keepBuffer = 8 << 10
)

// outlet collects heads and content that leave on one connection, and frames them.
type outlet struct {
	conn    *wire
	sent    func(n int64)
	buf     []byte
	framing http1.Framing
	// expired is asked when a write deadline has passed: true to stop.
	expired func() bool
}

func (o *outlet) init(conn *wire, sent func(int64)) { o.conn, o.sent = conn, sent }

// piece adds content; last ends it. The last one only goes into the buffer, for flush: by then the leg that it came from
// can be serving somebody else.
func (o *outlet) piece(p []byte, last bool) error {
	if len(p) > 0 {
		if o.framing == http1.Chunked {
			o.buf = http1.AppendChunkHead(o.buf, len(p))
		}
		if len(p) >= directWrite && !last {
			if err := o.write(p); err != nil {
				return err
			}
		} else {
			o.buf = append(o.buf, p...)
		}
		if o.framing == http1.Chunked {
			o.buf = append(o.buf, http1.ChunkTail...)
		}
	}
	if last {
		if o.framing == http1.Chunked {
			o.buf = append(o.buf, http1.LastChunk...)
		}
		return nil
	}
	if len(o.buf) >= directWrite {
		return o.flush()
	}
	return nil
}

// flush writes what was collected.
func (o *outlet) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	return o.write(nil)
}

// write writes the buffer and then p.
func (o *outlet) write(p []byte) error {
	b := o.buf
	o.buf = o.buf[:0]
	for {
		var n int64
		var err error
		if len(p) == 0 || len(b) == 0 {
			one := b
			if len(b) == 0 {
				one = p
			}
			var k int
			k, err = o.conn.Write(one)
			n = int64(k)
		} else {
			both := net.Buffers{b, p}
			n, err = both.WriteTo(o.conn.TCPConn)
		}
		o.sent(n)
		k := min(n, int64(len(b)))
		b, p = b[k:], p[n-k:]
		if err != nil && !(timedOut(err) && !o.expired()) {
			return err
		}
		if len(b) == 0 && len(p) == 0 {
			return nil
		}
	}
}

// idle gives back what a large message left.
func (o *outlet) idle() {
	if cap(o.buf) > keepBuffer {
		o.buf = nil
	}
}
