// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/upstream"
)

// BenchmarkRequest shows what one keep-alive request through the proxy allocates; client and server beside it allocate
// nothing. How fast that is beside others is measured by make bench.
func BenchmarkRequest(b *testing.B) { benchmarkRequest(b, nil) }

// BenchmarkRequestLogged is the same with an access log like Envoy's default.
func BenchmarkRequestLogged(b *testing.B) {
	part := func(c mesh.Command, header string) mesh.FormatPart {
		return mesh.FormatPart{Command: c, Header: header}
	}
	text := mesh.FormatPart{Text: " "}
	line := mesh.LogLine{Text: mesh.Format{part(mesh.CommandStartTime, ""), text, part(mesh.CommandRequestHeader, ":method"), text,
		part(mesh.CommandRequestHeader, ":path"), text, part(mesh.CommandResponseCode, ""), text, part(mesh.CommandResponseFlags, ""), text,
		part(mesh.CommandBytesSent, ""), text, {Command: mesh.CommandDuration, To: mesh.Completed, Unit: time.Millisecond}, text,
		part(mesh.CommandResponseHeader, "x-envoy-upstream-service-time"), text, part(mesh.CommandUpstreamHost, ""), {Text: "\n"}}}
	benchmarkRequest(b, []mesh.AccessLog{{Path: os.DevNull, Line: line}})
}

func benchmarkRequest(b *testing.B, logs []mesh.AccessLog) {
	server := answerEach(b, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello")
	p := New(Options{Counts: upstream.NewCounts(), Log: slog.New(slog.DiscardHandler), DrainTime: time.Second})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	defer func() { stop(); <-done }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	listener := routeTo(at, "blue")
	listener.Chains[0].HTTP.AccessLogs = logs
	listener.Chains[0].HTTP.StreamIdleTimeout = 5 * time.Minute
	listener.Chains[0].HTTP.RouteConfig.VirtualHosts[0].Routes[0].Forward.Timeout = 15 * time.Second
	cfg := &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/", Listeners: []*mesh.Listener{listener},
		Clusters: []*mesh.Cluster{clusterOf("blue", server)}}}}
	up := upstream.New(upstream.Options{Log: slog.New(slog.DiscardHandler)})
	up.Set(cfg)
	p.Update(cfg, up.Hosts())
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	request := []byte("GET /path HTTP/1.1\r\nhost: a.test\r\nuser-agent: bench\r\naccept: */*\r\n\r\n")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		for n := 0; !bytes.HasSuffix(buf[:n], []byte("hello")); {
			k, err := c.Read(buf[n:])
			if err != nil {
				b.Fatal(err)
			}
			n += k
		}
	}
}

// answerEach answers every read with the same bytes.
func answerEach(b *testing.B, text string) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := []byte(text)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					c.Write(answer)
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}
