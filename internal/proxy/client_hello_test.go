// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
)

// helloOf is what Go's client sends first.
func helloOf(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		_ = tls.Client(here, config).Handshake() // ends with the pipe
		here.Close()
	}()
	buf := make([]byte, 1<<14)
	n, err := there.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func TestClientHelloOfGo(t *testing.T) {
	data := helloOf(t, &tls.Config{ServerName: "Web.Test", NextProtos: []string{"h2", "http/1.1"}})
	for n := range data {
		if _, err := parseClientHello(data[:n]); !errors.Is(err, errHelloShort) {
			t.Fatalf("%d of %d bytes: %v", n, len(data), err)
		}
	}
	h, err := parseClientHello(data)
	if err != nil || h.serverName != "web.test" || !slices.Equal(h.protocols, []string{"h2", "http/1.1"}) {
		t.Errorf("got %+v, %v", h, err)
	}
}

// FuzzClientHello: whatever comes, the parser does not fall over, what it says of the whole it says of the whole with more
// records behind it, and what it can decide early it does not take back.
func FuzzClientHello(f *testing.F) {
	f.Add(helloOf(f, &tls.Config{ServerName: "a.test", NextProtos: []string{"h2"}}), 20)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		h, err := parseClientHello(data)
		if h.serverName != strings.ToLower(h.serverName) || strings.IndexByte(h.serverName, 0) >= 0 || len(h.serverName) > 1024 {
			t.Errorf("server name %q", h.serverName)
		}
		if err == nil && h.alpn == (len(h.protocols) == 0) {
			t.Errorf("protocols %q, %v", h.protocols, h.alpn)
		}
		if n < 0 || n > len(data) {
			return
		}
		early, earlyErr := parseClientHello(data[:n])
		if !errors.Is(earlyErr, errHelloShort) && (!errors.Is(err, earlyErr) || early.serverName != h.serverName) {
			t.Errorf("%d bytes: %+v, %v; %d bytes: %+v, %v", n, early, earlyErr, len(data), h, err)
		}
	})
}
