// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"testing"
	"time"
)

// tcpPair is both ends of a connection.
func tcpPair(b testing.TB) (here, there *net.TCPConn) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// BenchmarkRelay moves 1 MiB at a time through one direction of a relay. splice(2), by way of TCPConn.ReadFrom, was no faster
// here, and says only at its end how much has moved, which idle timeouts and counters need to know.
func BenchmarkRelay(b *testing.B) {
	client, in := tcpPair(b)
	out, server := tcpPair(b)
	r := &relay{idle: time.Hour, a: in, b: out}
	r.touch()
	done := make(chan struct{})
	go func() { defer close(done); r.copy(in, out, func(uint64) {}) }()
	const piece = 1 << 20
	data := make([]byte, piece)
	go func() {
		for range b.N {
			if _, err := client.Write(data); err != nil {
				return
			}
		}
		client.CloseWrite()
	}()
	b.SetBytes(piece)
	b.ResetTimer()
	if n, err := io.Copy(io.Discard, readerOnly{server}); err != nil || n != int64(b.N)*piece {
		b.Fatalf("%d bytes, %v", n, err)
	}
	<-done
}
