// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"errors"
	"io"
	"math"
)

// Body reads the content of one message, piece by piece.
type Body struct {
	r       *Reader
	framing Framing
	left    int64 // of the content (Length), or of the chunk
	state   chunkState
	done    bool
	read    uint64 // bytes of content
	settled uint64 // read, when the buffer was filled last
}

type chunkState int

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkTrailers
)

// ErrWait is returned when a piece is not buffered and the caller does not want to read.
var ErrWait = errors.New("more must be read")

// Start makes b the body behind a head that r has read.
func (b *Body) Start(r *Reader, f Framing, length int64) {
	*b = Body{r: r, framing: f, left: length, done: f == None || f == Length && length == 0}
}

// Read is how much content has been read, in bytes.
func (b *Body) Read() uint64 { return b.read }

// Done says that the body was read to its end.
func (b *Body) Done() bool { return b.done }

// Next returns the next piece of content, valid until the next call on the Reader, and last with the final one, which may
// be empty. With read false only what is buffered is looked at (ErrWait if that is nothing). Errors are *Error for bad
// chunks, io.ErrUnexpectedEOF for an end too early, or the source's; after a timeout Next may be called again.
func (b *Body) Next(read bool) (piece []byte, last bool, err error) {
	for !b.done {
		piece, err := b.step()
		if len(piece) > 0 || err != nil {
			b.read += uint64(len(piece))
			if err != nil {
				b.read = b.settled // as Envoy, which takes nothing of what came together with an error
			}
			return piece, b.done, err
		}
		if b.done {
			break
		}
		if !read {
			return nil, false, ErrWait
		}
		b.settled = b.read
		if err := b.r.Fill(b.want()); err != nil {
			return b.end(err)
		}
	}
	return nil, true, nil
}

// want is how large a buffer pays.
func (b *Body) want() int {
	if b.framing == Length && b.left <= smallBuffer {
		return 0
	}
	return largeBuffer
}

func (b *Body) end(err error) ([]byte, bool, error) {
	if !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if b.framing == UntilClose {
		b.done = true
		return nil, true, nil
	}
	return nil, false, io.ErrUnexpectedEOF
}

// step consumes from the buffer: a piece, or nothing when more must be read or the body has ended.
func (b *Body) step() ([]byte, error) {
	switch b.framing {
	case UntilClose:
		piece := b.r.Buffered()
		b.r.discard(len(piece))
		return piece, nil
	case Length:
		piece := b.take()
		b.done = b.left == 0
		return piece, nil
	}
	for {
		more, piece, err := b.chunk()
		if err != nil || len(piece) > 0 || !more {
			return piece, err
		}
	}
}

// take is the part of the buffer that belongs to what is left.
func (b *Body) take() []byte {
	piece := b.r.Buffered()
	if int64(len(piece)) > b.left {
		piece = piece[:b.left]
	}
	b.r.discard(len(piece))
	b.left -= int64(len(piece))
	return piece
}

// chunk makes one transition; more is false when the buffer has nothing for the next one.
func (b *Body) chunk() (more bool, piece []byte, err error) {
	switch b.state {
	case chunkData:
		if piece = b.take(); b.left == 0 {
			b.state = chunkEnd
		}
		return len(piece) > 0, piece, nil
	case chunkEnd: // whatever stands between the data and the end of its line is skipped, as Envoy does
		buf := b.r.Buffered()
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			b.r.discard(len(buf))
			return false, nil, nil
		}
		b.r.discard(i + 1)
		b.state = chunkSize
		return true, nil, nil
	}
	const maxLine = 16 << 10 // of an extension or a trailer field
	buf := b.r.Buffered()
	i := bytes.IndexByte(buf, '\n')
	if i < 0 {
		if len(buf) > maxLine {
			return false, nil, bad("line of %d bytes in a chunked body", len(buf))
		}
		return false, nil, nil
	}
	line := buf[:i]
	b.r.discard(i + 1)
	if b.state == chunkSize {
		return true, nil, b.size(line)
	}
	if line = trimCR(line); len(line) == 0 {
		b.done = true
		return false, nil, nil
	}
	return true, nil, trailer(line)
}

// trailer checks a field that is not passed on.
func trailer(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 || !all(name, isToken) || !all(value, isValue) {
		return bad("trailer line %q", line)
	}
	return nil
}

// size reads a chunk's first line: hexadecimal digits, perhaps an extension, CR.
func (b *Body) size(line []byte) error {
	n := len(line)
	if n == 0 || line[n-1] != '\r' {
		return bad("chunk line %q does not end in CRLF", line)
	}
	line = line[:n-1]
	size64, i := uint64(0), 0
	for ; i < len(line); i++ {
		d, ok := hexDigit(line[i])
		if !ok {
			break
		}
		if size64 > math.MaxUint64>>4 {
			return bad("chunk size %q", line)
		}
		size64 = size64<<4 | uint64(d)
	}
	if i == 0 || i < len(line) && !contains("; \t", line[i]) || bytes.IndexByte(line[i:], '\r') >= 0 {
		return bad("chunk size %q", line)
	}
	b.left = int64(min(size64, math.MaxInt64)) // nobody sends so much
	b.state = chunkData
	if b.left == 0 {
		b.state = chunkTrailers
	}
	return nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
