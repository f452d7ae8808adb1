// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// briefly is how much may be moved by a system call of which Go's scheduler is not told. The scheduler takes the processor away
// from whoever stays in the kernel for 20 us, and on a busy machine a small write to a local peer does: its receiver runs
// inside it. The threads that wake up for that cost more than the call.
const briefly = 64 << 10

// wire reads and writes a connection as net.TCPConn does, deadlines included, by system calls that never block. One goroutine
// may read while another writes.
type wire struct {
	*net.TCPConn
	raw syscall.RawConn

	in, out           []byte // what the call under way moves
	got, gave         int
	inErrno, outErrno syscall.Errno
	readFD, writeFD   func(fd uintptr) bool // bound once
}

func newWire(conn *net.TCPConn) *wire {
	w := &wire{TCPConn: conn}
	w.raw, _ = conn.SyscallConn() // fails only without a connection
	w.readFD, w.writeFD = w.readSome, w.writeSome
	return w
}

// Read implements io.Reader.
func (w *wire) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	w.in = b
	err := w.raw.Read(w.readFD)
	w.in = nil
	switch {
	case err != nil:
		return 0, err
	case w.inErrno != 0:
		return 0, os.NewSyscallError("read", w.inErrno)
	case w.got == 0:
		return 0, io.EOF
	}
	return w.got, nil
}

// Write implements io.Writer.
func (w *wire) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	w.out, w.gave = b, 0
	err := w.raw.Write(w.writeFD)
	w.out = nil
	if err == nil && w.outErrno != 0 {
		err = os.NewSyscallError("write", w.outErrno)
	}
	return w.gave, err
}

func (w *wire) readSome(fd uintptr) bool {
	for {
		w.got, w.inErrno = move(unix.SYS_READ, fd, w.in)
		if w.inErrno != unix.EINTR {
			return w.inErrno != unix.EAGAIN
		}
	}
}

func (w *wire) writeSome(fd uintptr) bool {
	for w.gave < len(w.out) {
		var n int
		n, w.outErrno = move(unix.SYS_WRITE, fd, w.out[w.gave:])
		switch w.outErrno {
		case 0:
			w.gave += n
		case unix.EINTR:
		default:
			return w.outErrno != unix.EAGAIN
		}
	}
	return true
}

// move reads or writes once. b is not empty.
func move(call, fd uintptr, b []byte) (int, syscall.Errno) {
	var n uintptr
	var e syscall.Errno
	if len(b) <= briefly {
		n, _, e = unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	} else {
		n, _, e = unix.Syscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	}
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
