// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	os.Setenv("LENO_BIN", "/nonexistent") // these tests start no leno: do not build it
	os.Exit(Main(m, Children{"where": where}))
}

// where prints in which cgroup and namespace it runs.
func where([]string) error {
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	ns, err := os.Readlink("/proc/self/ns/net")
	fmt.Printf("%s%s\n", cgroup, ns)
	return err
}

func TestProgramsStartInTheirPlace(t *testing.T) {
	r := New(t)
	inside := r.Run(10*time.Second, r.Child("where"))
	if !strings.Contains(inside, "0::"+r.Cgroup+"\n") {
		t.Errorf("not in cgroup %s:\n%s", r.Cgroup, inside)
	}
	other := r.NewNamespace()
	p := r.Child("where")
	p.Outside, p.Namespace = true, other
	outside := r.Run(10*time.Second, p)
	if !strings.Contains(outside, "/outside\n") {
		t.Errorf("not in the outer cgroup:\n%s", outside)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	last := func(text string) string {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		return lines[len(lines)-1]
	}
	if a, b := last(inside), last(outside); a == b || a == own || b == own {
		t.Errorf("namespaces %s, %s and %s must differ", own, a, b)
	}
}

func TestNamespacesReachEachOther(t *testing.T) {
	r := New(t)
	node := r.NewNamespace()
	for _, address := range []string{node.V4, node.V6} {
		var l net.Listener
		node.Do(func() (err error) {
			l, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
			return err
		})
		r.Home.Do(func() error {
			c, err := net.DialTimeout("tcp", l.Addr().String(), Slow(5*time.Second))
			if err == nil {
				c.Close()
			}
			return err
		})
		l.Close()
	}
}

func TestBootstrapText(t *testing.T) {
	got := Bootstrap(TCPService{Name: "a", Address: "10.0.0.1:80", Endpoints: []string{"[::1]:81"}})
	want := `static_resources:
  listeners:
  - name: a
    address: {socket_address: {address: "10.0.0.1", port_value: 80}}
    bind_to_port: false
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: a
          cluster: a
  clusters:
  - name: a
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: a
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: "::1", port_value: 81}}}
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
