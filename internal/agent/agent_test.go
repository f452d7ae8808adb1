// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/dataplane"
	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/table"
)

const bootstrap = `
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: c
  clusters:
  - name: c
    connect_timeout: 1s
    load_assignment:
      cluster_name: c
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}
`

// start runs an agent in a cgroup and pins of its own until the test ends.
func start(t *testing.T, config string) *Agent {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it loads programs into the kernel")
	}
	root, err := dataplane.CgroupMount()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("leno-agent-%d", os.Getpid())
	if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Join(root, name)) })
	path := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Scopes: []Scope{{Cgroup: "/" + name, Path: path}}, Tier: table.ModeProxy, Version: "test",
		StateDir: t.TempDir(), DrainTime: time.Second, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Dataplane: dataplane.Options{PinDir: "/sys/fs/bpf/" + name}})
	if err != nil {
		t.Fatal(err)
	}
	a.DetachAtEnd()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// An address that cannot be bound at start, as before the network is up, is bound as soon as it can. The service manager
// hears that leno is ready when its configuration is in force.
func TestBindLater(t *testing.T) {
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	t.Setenv("NOTIFY_SOCKET", notify.LocalAddr().String())
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello") // what arrives is what counts
			c.Close()
		}
	}()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := taken.Addr().(*net.TCPAddr).Port
	a := start(t, fmt.Sprintf(bootstrap, port, server.Addr().(*net.TCPAddr).Port))
	eventually(t, "a sentence about the address", func() bool {
		return strings.Contains(fmt.Sprint(a.Status().Problems), fmt.Sprint(port))
	})
	taken.Close()
	eventually(t, "the listener", func() bool {
		c, err := net.Dial("tcp4", taken.Addr().String())
		if err != nil {
			return false
		}
		defer c.Close()
		said, _ := io.ReadAll(c)
		return string(said) == "hello"
	})
	eventually(t, "the end of the problem", func() bool { return len(a.Status().Problems) == 0 })
	buf := make([]byte, 100)
	if err := notify.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := notify.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("the service manager heard %q, %v", buf[:n], err)
	}
	if st := a.Status().State; st != status.Live {
		t.Errorf("state %s", st)
	}
}

// As with Envoy, the agent is not ready before the names in its file have been asked about, whatever the answer.
func TestReadyAfterNames(t *testing.T) {
	dns, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	port := dns.LocalAddr().(*net.UDPAddr).Port
	a := start(t, fmt.Sprintf(`
static_resources:
  clusters:
  - name: c
    type: STRICT_DNS
    dns_lookup_family: V4_ONLY
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{socket_address: {address: 127.0.0.1, port_value: %d}}]
    load_assignment:
      cluster_name: c
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: nobody.test, port_value: 80}}}}]}]
`, port))
	query := make([]byte, 512)
	n, from, err := dns.ReadFrom(query)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a round", func() bool { return a.inForce().config != nil })
	if s := a.state(); s != status.Initializing {
		t.Errorf("%v while a name is being asked about", s)
	}
	query[2], query[3] = query[2]|0x80, 3 // a response: there is no such name (RFC 1035 section 4.1.1)
	if _, err := dns.WriteTo(query[:n], from); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool { return a.state() == status.Live })
}
