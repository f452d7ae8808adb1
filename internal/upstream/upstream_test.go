// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/leno-mesh/leno/internal/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a DNS server whose zone the test changes.
type server struct {
	addr netip.AddrPort

	mu    sync.Mutex
	zone  map[string][]string // "name TYPE" -> records' data
	rcode int                 // answers with this code if not 0
	cut   bool                // truncate what goes over UDP
	asked int
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{zone: map[string][]string{}}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	l, err := net.Listen("tcp", s.addr.String())
	if err != nil {
		t.Skipf("the TCP port of the same number is taken: %v", err)
	}
	udp := &dns.Server{PacketConn: pc, Handler: s}
	tcp := &dns.Server{Listener: l, Handler: s}
	var wg sync.WaitGroup
	for _, srv := range []*dns.Server{udp, tcp} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		wg.Go(func() { _ = srv.ActivateAndServe() })
		<-started
	}
	t.Cleanup(func() {
		_ = udp.Shutdown()
		_ = tcp.Shutdown()
		wg.Wait()
	})
	return s
}

func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	m := new(dns.Msg)
	m.SetReply(q)
	name := q.Question[0].Name
	key := name + " " + dns.TypeToString[q.Question[0].Qtype]
	_, udp := w.LocalAddr().(*net.UDPAddr)
	known := false
	for k := range s.zone {
		known = known || strings.HasPrefix(k, name+" ")
	}
	switch {
	case s.rcode != 0:
		m.Rcode = s.rcode
	case s.cut && udp:
		m.Truncated = true
	case !known:
		m.Rcode = dns.RcodeNameError
	default:
		for _, data := range s.zone[key] {
			rr, err := dns.NewRR(fmt.Sprintf("%s 1 IN %s %s", name, dns.TypeToString[q.Question[0].Qtype], data))
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m)
}

func (s *server) set(name, kind string, data ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[name+". "+kind] = data
}

func (s *server) fail(rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rcode = rcode
}

// dnsCluster is a cluster of one name, asked for every 20 ms.
func dnsCluster(s *server, d mesh.Discovery, f mesh.DNSFamily) *mesh.Cluster {
	return &mesh.Cluster{Name: "c", Discovery: d, PanicThreshold: 50,
		Endpoints: &mesh.Endpoints{Overprovisioning: 140, Endpoints: []mesh.Endpoint{{Host: "svc.test", Port: 80, Weight: 1}}},
		DNS:       mesh.DNS{RefreshRate: 20 * time.Millisecond, Family: f, Resolvers: []netip.AddrPort{s.addr}}}
}

// follow runs an Upstream on clusters and returns a function that waits until the members of "c" are as wanted.
func follow(t *testing.T, o Options, cs ...*mesh.Cluster) (*Upstream, func(want string)) {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	if o.HostsFile == "" {
		o.HostsFile = filepath.Join(t.TempDir(), "none")
	}
	u := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- u.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	u.Set(config(cs...))
	return u, func(want string) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for members(u) != want {
			if time.Now().After(deadline) {
				t.Fatalf("members %q, want %q", members(u), want)
			}
			<-tick.C
		}
	}
}

func config(cs ...*mesh.Cluster) *mesh.Config {
	return &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: "/", Clusters: cs}}}
}

// members renders the cluster "c": "warming", or its usable addresses.
func members(u *Upstream) string {
	set := u.Hosts().Set(mesh.ClusterID{Scope: "/", Name: "c"})
	if !set.Ready {
		return "warming"
	}
	var all []string
	for _, h := range set.Usable {
		all = append(all, h.Address.String())
	}
	return strings.Join(all, " ")
}

func TestStrictDNSFollowsTheName(t *testing.T) {
	s := newServer(t)
	s.set("svc.test", "A", "10.0.0.1", "10.0.0.2")
	_, want := follow(t, Options{}, dnsCluster(s, mesh.StrictDNS, mesh.DNSV4Only))
	want("10.0.0.1:80 10.0.0.2:80")
	s.set("svc.test", "A", "10.0.0.3")
	want("10.0.0.3:80")
	s.set("svc.test", "A") // the name exists and has no address
	want("")
}

func TestFailureKeepsTheLastAnswer(t *testing.T) {
	s := newServer(t)
	s.set("svc.test", "A", "10.0.0.1")
	_, want := follow(t, Options{}, dnsCluster(s, mesh.StrictDNS, mesh.DNSV4Only))
	want("10.0.0.1:80")
	s.fail(dns.RcodeServerFailure)
	s.mu.Lock()
	before := s.asked
	s.mu.Unlock()
	poll(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.asked > before+4 })
	want("10.0.0.1:80")
	s.set("svc.test", "A", "10.0.0.9")
	s.fail(0)
	want("10.0.0.9:80")
}

func poll(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 10 s")
		}
		<-tick.C
	}
}

func TestUnresolvableNameEndsWarming(t *testing.T) {
	s := newServer(t)
	s.fail(dns.RcodeServerFailure)
	_, want := follow(t, Options{}, dnsCluster(s, mesh.StrictDNS, mesh.DNSV4Only))
	want("")
}

func TestLogicalDNSTakesOneAddress(t *testing.T) {
	s := newServer(t)
	s.set("svc.test", "A", "10.0.0.1", "10.0.0.2")
	_, want := follow(t, Options{}, dnsCluster(s, mesh.LogicalDNS, mesh.DNSV4Only))
	want("10.0.0.1:80")
}

func TestFamilies(t *testing.T) {
	s := newServer(t)
	s.set("svc.test", "A", "10.0.0.1")
	s.set("svc.test", "AAAA", "fd00::1")
	for f, want := range map[mesh.DNSFamily]string{
		mesh.DNSAuto: "[fd00::1]:80", mesh.DNSV4Only: "10.0.0.1:80", mesh.DNSV6Only: "[fd00::1]:80",
		mesh.DNSV4Preferred: "10.0.0.1:80", mesh.DNSAll: "10.0.0.1:80 [fd00::1]:80",
	} {
		_, wait := follow(t, Options{}, dnsCluster(s, mesh.StrictDNS, f))
		wait(want)
	}
	s.set("svc.test", "AAAA")
	_, wait := follow(t, Options{}, dnsCluster(s, mesh.StrictDNS, mesh.DNSAuto))
	wait("10.0.0.1:80")
}

func TestTruncatedAnswerIsAskedOverTCP(t *testing.T) {
	s := newServer(t)
	s.cut = true
	s.set("svc.test", "A", "10.0.0.1")
	_, want := follow(t, Options{}, dnsCluster(s, mesh.StrictDNS, mesh.DNSV4Only))
	want("10.0.0.1:80")
}

func TestHostsFileComesFirst(t *testing.T) {
	s := newServer(t)
	s.set("svc.test", "A", "10.0.0.1")
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("10.9.9.9 other svc.test # a comment\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, want := follow(t, Options{HostsFile: file}, dnsCluster(s, mesh.StrictDNS, mesh.DNSAuto))
	want("10.9.9.9:80")
}

func TestResolvConfAndSearchDomains(t *testing.T) {
	s := newServer(t)
	s.set("svc.test.example", "A", "10.0.0.7")
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	// resolv.conf has no ports: the test's server is given through the cluster for the query, the search list is read from the file.
	if err := os.WriteFile(conf, []byte("search example\noptions ndots:2 timeout:1 attempts:1\nnameserver 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := New(Options{Log: slog.New(slog.DiscardHandler), ResolvConf: conf})
	r, err := u.resolvers(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Servers = []string{s.addr.String()}
	a, err := r.query(context.Background(), "svc.test", dns.TypeA)
	if err != nil || len(a.addrs) != 1 || a.addrs[0].String() != "10.0.0.7" {
		t.Errorf("answer %v, %v", a, err)
	}
}

func static(health ...mesh.Health) *mesh.Cluster {
	c := &mesh.Cluster{Name: "c", PanicThreshold: 50, Endpoints: &mesh.Endpoints{Overprovisioning: 140}}
	for i, h := range health {
		c.Endpoints.Endpoints = append(c.Endpoints.Endpoints, mesh.Endpoint{Weight: 1, Health: h,
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)})
	}
	return c
}

func TestPanic(t *testing.T) {
	const up, down = mesh.Healthy, mesh.Unhealthy
	for _, tc := range []struct {
		health    []mesh.Health
		threshold uint32
		usable    int
	}{
		{[]mesh.Health{up, up, down}, 50, 2},
		{[]mesh.Health{up, down}, 50, 1}, // just 50 % is no panic
		{[]mesh.Health{up, down, down}, 50, 3},
		{[]mesh.Health{down, down}, 50, 2},
		{[]mesh.Health{down, down}, 0, 0},
		{nil, 50, 0},
	} {
		c := static(tc.health...)
		c.PanicThreshold = tc.threshold
		u := New(Options{Log: slog.New(slog.DiscardHandler)})
		u.Set(config(c))
		set := u.Hosts().Set(mesh.ClusterID{Scope: "/", Name: "c"})
		panics := len(set.Levels) > 0 && set.Levels[0].Panic
		if len(set.Usable) != tc.usable || panics != (tc.usable > 0 && tc.usable != count(tc.health, up)) {
			t.Errorf("%v at %d %%: %d usable, panic %t", tc.health, tc.threshold, len(set.Usable), panics)
		}
	}
}

func count(all []mesh.Health, h mesh.Health) (n int) {
	for _, x := range all {
		if x == h {
			n++
		}
	}
	return n
}

func TestUnchangedSetsKeepTheirPointers(t *testing.T) {
	u := New(Options{Log: slog.New(slog.DiscardHandler)})
	a, b := static(mesh.Healthy), static(mesh.Healthy)
	b.Name = "b"
	u.Set(config(b, a))
	first := u.Hosts()
	again := *a // a new value that says the same
	u.Set(config(b, &again))
	if u.Hosts() != first {
		t.Error("hosts were published again although nothing changed")
	}
	u.Set(config(b, static(mesh.Healthy, mesh.Healthy)))
	id := mesh.ClusterID{Scope: "/", Name: "b"}
	if u.Hosts() == first || u.Hosts().Set(id) != first.Set(id) {
		t.Error("the changed set must be new, the other one the same")
	}
}

func TestMissingEndpointsAreWarming(t *testing.T) {
	u := New(Options{Log: slog.New(slog.DiscardHandler)})
	u.Set(config(&mesh.Cluster{Name: "c", Discovery: mesh.EDS}))
	if got := members(u); got != "warming" {
		t.Errorf("%q", got)
	}
}

func TestTTLIsHonoured(t *testing.T) {
	s := newServer(t)
	s.set("svc.test", "A", "10.0.0.1")
	c := dnsCluster(s, mesh.StrictDNS, mesh.DNSV4Only)
	c.DNS.RefreshRate, c.DNS.RespectTTL = time.Hour, true // the records live one second
	_, want := follow(t, Options{}, c)
	want("10.0.0.1:80")
	s.set("svc.test", "A", "10.0.0.2")
	want("10.0.0.2:80")
}
