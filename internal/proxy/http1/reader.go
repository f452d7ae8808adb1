// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

const (
	smallBuffer = 4 << 10  // most heads
	largeBuffer = 64 << 10 // bodies
)

var smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// errTooLarge is a head beyond its limit.
var errTooLarge = &Error{Status: 431, What: "the head is larger than max_request_headers_kb", Details: "http1.headers_too_large"}

// Reader buffers one direction of a connection. A read that fails with a timeout may be repeated: nothing is lost.
// For one goroutine at a time.
type Reader struct {
	src  io.Reader
	buf  []byte
	r, w int // unread bytes are buf[r:w]

	// Of the head that is being read, relative to r:
	line    int  // where the current line begins
	scanned int  // how far was looked for the end of that line
	started bool // the first byte was seen
	first   bool // the start line was seen
	spans   []span
}

// NewReader reads from src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Buffered is what was read and not consumed; valid until the next call of another method.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Idle gives the buffer back if nothing is in it.
func (r *Reader) Idle() {
	if r.r != r.w || r.buf == nil {
		return
	}
	r.setBuffer(nil)
}

// setBuffer replaces the buffer, keeping what is unread.
func (r *Reader) setBuffer(b []byte) {
	old := r.buf
	r.w = copy(b, old[r.r:r.w])
	r.r, r.buf = 0, b
	switch len(old) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(old))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(old))
	}
}

// Fill reads once, so that at least one more byte is buffered if it returns nil. The buffer grows to hold want bytes.
func (r *Reader) Fill(want int) error {
	switch {
	case r.buf == nil && want <= smallBuffer:
		r.setBuffer(smallBuffers.Get().(*[smallBuffer]byte)[:])
	case len(r.buf) < want && len(r.buf) < largeBuffer:
		r.setBuffer(largeBuffers.Get().(*[largeBuffer]byte)[:])
	case r.r == r.w:
		r.r, r.w = 0, 0
	case r.w == len(r.buf) && r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	case r.w == len(r.buf) && len(r.buf) < largeBuffer:
		r.setBuffer(largeBuffers.Get().(*[largeBuffer]byte)[:])
	case r.w == len(r.buf):
		r.setBuffer(make([]byte, 2*len(r.buf)))
	}
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (r *Reader) discard(n int) { r.r += n }

// head returns the bytes of the next head, start line to empty line, without consuming them. check sees the first byte
// and the start line as soon as they are there, so that what is no HTTP is answered without waiting for more. With skip empty
// lines before the start line are passed over (RFC 9112 section 2.2).
func (r *Reader) head(limit int, check func(line []byte, whole bool) error, read, skip bool) ([]byte, error) {
	for {
		block, err := r.scan(limit, check, skip)
		if block != nil || err != nil {
			return block, err
		}
		if !read {
			return nil, ErrWait
		}
		if err := r.Fill(0); err != nil {
			if errors.Is(err, io.EOF) && r.started {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func (r *Reader) scan(limit int, check func([]byte, bool) error, skip bool) ([]byte, error) {
	for !r.started && r.r < r.w {
		if c := r.buf[r.r]; skip && (c == '\r' || c == '\n') {
			r.r++
			continue
		}
		r.started = true
		if err := check(r.buf[r.r:r.r+1], false); err != nil {
			return nil, err
		}
	}
	b := r.buf[r.r:r.w]
	for {
		i := bytes.IndexByte(b[r.scanned:], '\n')
		if i < 0 {
			r.scanned = len(b)
			if len(b) > limit {
				return nil, errTooLarge
			}
			return nil, nil
		}
		end := r.scanned + i
		line := trimCR(b[r.line:end])
		r.line, r.scanned = end+1, end+1
		switch {
		case end+1 > limit:
			return nil, errTooLarge
		case !r.first:
			r.first = true
			if err := check(line, true); err != nil {
				return nil, err
			}
		case len(line) == 0:
			return b[:end+1], nil
		}
	}
}

// consumed ends the head that scan found.
func (r *Reader) consumed(n int) {
	r.r += n
	r.line, r.scanned, r.started, r.first = 0, 0, false, false
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}
