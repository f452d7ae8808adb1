// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/telemetry"
)

// Service managers remove a unit's cgroup and make it again: the new one is managed like the old.
func TestCgroupMadeAgain(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	r.run()
	for range 3 {
		cl := r.client(nil)
		eventually(t, "a managed client", func() bool { return cl.who("10.1.2.3:80") == "a" })
		cl.stop()
		r.removeCgroup()
		eventually(t, "a sentence about the missing cgroup", func() bool {
			return strings.Contains(strings.Join(r.Status().Missing, "\n"), r.cgroup)
		})
		// While it is missing, configuration for others is taken.
		r.put()
		if err := os.Mkdir(filepath.Join(r.root, r.cgroup), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cl := r.client(nil)
	eventually(t, "a managed client", func() bool { return cl.who("10.1.2.3:80") == "a" })
	if k := r.Status(); len(k.Missing) != 0 || !slices.Equal(k.Attached, []string{r.cgroup}) {
		t.Errorf("status: %+v", k)
	}
}

// What the agent sees as the root of the cgroups may lie below the true one: in a container, or by a bind mount.
func TestRootBelowTheRoot(t *testing.T) {
	root, err := CgroupMount()
	if err != nil {
		t.Fatal(err)
	}
	for _, whole := range []bool{false, true} {
		part := filepath.Join(root, fmt.Sprintf("leno-part-%d", os.Getpid()))
		if err := os.Mkdir(part, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("whole=%v", whole), func(t *testing.T) {
			mount := t.TempDir()
			if err := unix.Mount(part, mount, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(mount, 0); err != nil {
					t.Error(err)
				}
			})
			r := newRig(t, Options{CgroupRoot: mount})
			if whole {
				r.tables.Scopes[0].Cgroup = "/"
			}
			_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
			r.listener("10.1.2.3:80", share)
			r.put()
			if got := r.client(nil).who("10.1.2.3:80"); got != "a" {
				t.Errorf("reached %q", got)
			}
		})
		eventually(t, "the cgroup's removal", func() bool { return os.Remove(part) == nil })
	}
}

func TestCgroupMount(t *testing.T) {
	const v1 = "30 24 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
	for _, c := range []struct{ info, want string }{
		{v1, ""},
		{v1 + "31 24 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		{"31 24 0:27 /docker/1 /part rw - cgroup2 cgroup2 rw\n32 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{"31 24 0:27 /../.. /part rw - cgroup2 cgroup2 rw\n", "/part"},
	} {
		got, err := cgroupMount(strings.NewReader(c.info))
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q, %v", c.info, got, err)
		}
	}
}

// An address that moved to another host while no agent ran is not taken for local any more.
func TestAddressesOfBefore(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("0.0.0.0:80", share).Bound = true
	r.put()
	key := kern.CLocalKey{Netns: r.netns, Addr: addr16(netip.MustParseAddr("203.0.113.9"))}
	if err := r.objs.Locals.Update(&key, uint8(1), ebpf.UpdateAny); err != nil {
		t.Fatal(err)
	}
	cl := r.client(nil)
	if got := cl.who("203.0.113.9:80"); got != "a" {
		t.Fatalf("an address of the host reached %q", got)
	}
	r.close()
	r.open()
	r.put()
	before := r.counter(kern.CCounterCOUNT_PASS_LISTENER)
	fd := cl.must(order{Op: "socket", Flags: unix.SOCK_NONBLOCK}).FD
	cl.connect(fd, "203.0.113.9:80")
	cl.close(fd)
	if n := r.counter(kern.CCounterCOUNT_PASS_LISTENER) - before; n != 1 {
		t.Errorf("a connect to an address that is not the host's any more was taken")
	}
	if got := cl.who("127.0.0.1:80"); got != "a" {
		t.Errorf("a local address reached %q", got)
	}
}

// After a crash the port of the agent's socket is free for anybody: nobody else is sent its connections, at no moment.
func TestPortOfTheDead(t *testing.T) {
	r := newRig(t, Options{})
	r.listener("10.1.2.3:80").Tier = table.TierProxy
	r.listener("[2001:db8::1]:80").Tier = table.TierProxy
	r.put()
	ns := newNamespace(t)
	cl := r.client(ns)
	sockets := make(chan net.Listener, 16)
	go func() {
		for p := range r.parked {
			go answerAll(p.Socket, "agent")
			sockets <- p.Socket
		}
	}()
	if err := r.parkOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.1.2.3:80", "[2001:db8::1]:80"} {
		if got := cl.who(addr); got != "agent" {
			t.Fatalf("%s reached %q", addr, got)
		}
	}
	var k kern.CParkKey
	var v kern.CPark
	var ports []netip.AddrPort
	there := cookieIn(t, ns)
	for it := r.objs.Parks.Iterate(); it.Next(&k, &v); {
		if k.Netns != there || slices.Contains(ports, netip.AddrPortFrom(fromAddr16(v.Addr), v.Port)) {
			continue // an IPv4 socket serves both families of sockaddr
		}
		ports = append(ports, netip.AddrPortFrom(fromAddr16(v.Addr), v.Port))
	}
	for range 4 { // two listeners, two namespaces
		(<-sockets).Close() // as the kernel does for a dead process
	}
	for _, p := range ports {
		// Closing takes effect when the goroutine that accepts has noticed.
		eventually(t, "the port to be free", func() bool {
			return inNamespace(ns, func() error {
				l, err := net.Listen("tcp", p.String())
				if err == nil {
					t.Cleanup(func() { l.Close() })
					go answerAll(l, "stranger")
				}
				return err
			}) == nil
		})
	}
	beat := func() {
		t.Helper()
		if err := r.writeSettings(func(s *kern.CSettings) { s.HeartbeatNs = monotonicNs() }); err != nil {
			t.Fatal(err)
		}
	}
	for _, addr := range []string{"10.1.2.3:80", "[2001:db8::1]:80"} {
		beat()
		if got := cl.who(addr); got != unix.ECONNREFUSED.Error() {
			t.Errorf("%s reached %q", addr, got)
		}
	}
	if n := r.counter(kern.CCounterCOUNT_REFUSED_AGENT_DEAD); n != 2 {
		t.Errorf("%d connects were counted as refused for a dead agent", n)
	}
	// The next agent does not believe in the sockets of the one before.
	r.close()
	r.open()
	n := 0
	for it := r.objs.Parks.Iterate(); it.Next(&k, &v); {
		n++
	}
	if n != 0 {
		t.Errorf("%d sockets of the dead agent are still known", n)
	}
}

func cookieIn(t *testing.T, ns *os.File) (cookie uint64) {
	t.Helper()
	if err := inNamespace(ns, func() (err error) { cookie, err = netnsCookie(); return err }); err != nil {
		t.Fatal(err)
	}
	return cookie
}

// Process numbers are given out again: who gets the dead agent's is not exempt.
func TestNumberOfTheDead(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	if err := r.writeSettings(func(s *kern.CSettings) { s.AgentTgid = uint32(cl.pid) }); err != nil {
		t.Fatal(err)
	}
	if got := cl.who("10.1.2.3:80"); got != "a" {
		t.Errorf("a process with the number of the agent reached %q", got)
	}
	if n := r.counter(kern.CCounterCOUNT_PASS_AGENT); n != 0 {
		t.Errorf("%d connects were exempt", n)
	}
}

// Connections that were open before are left alone, and counted: those of the scope, to addresses that a listener owns.
func TestOpenBefore(t *testing.T) {
	ns := newNamespace(t)
	old := serve(t, nil, "tcp4", "127.0.0.1:0", "old")
	old6 := serve(t, ns, "tcp6", "[::1]:0", "old6")
	other := serve(t, nil, "tcp4", "127.0.0.1:0", "other")
	r := newRig(t, Options{})
	here, there := r.client(nil), r.client(ns)
	held, errno := here.dial(old.String())
	held6, errno6 := there.dial(old6.String())
	_, errnoOther := here.dial(other.String())
	unmanaged, err := net.Dial("tcp4", old.String())
	if errno != 0 || errno6 != 0 || errnoOther != 0 || err != nil {
		t.Fatal(errno, errno6, errnoOther, err)
	}
	defer unmanaged.Close()
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener(old.String(), share)
	r.listener(fmt.Sprintf("[::]:%d", old6.Port()), share)
	r.put()
	if n := r.counter(kern.CCounterCOUNT_PREEXISTING); n != 2 {
		t.Errorf("%d connections were open before, want 2", n)
	}
	if got := here.must(order{Op: "drain", FD: held}).Data; got != "old" {
		t.Errorf("the connection of before got %q", got)
	}
	if got := there.must(order{Op: "drain", FD: held6}).Data; got != "old6" {
		t.Errorf("the connection of before got %q", got)
	}
	if got := here.who(old.String()); got != "a" {
		t.Errorf("a new connection reached %q", got)
	}
	// The next agent takes the number over and does not count again.
	r.close()
	r.open()
	r.put()
	if n := r.counter(kern.CCounterCOUNT_PREEXISTING); n != 2 {
		t.Errorf("%d connections were open before, after a takeover; want 2", n)
	}
}

// A cluster's totals do not shrink when its endpoints go, nor a listener's when its clusters go.
func TestTotalsOutliveEndpoints(t *testing.T) {
	r := newRig(t, Options{})
	c, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"), serve(t, nil, "tcp4", "127.0.0.1:0", "b"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	for range 4 {
		cl.who("10.1.2.3:80")
	}
	eventually(t, "the connections' end", func() bool { return r.words.cluster(1).Load() == 0 })
	totals := func() map[string]uint64 {
		m := map[string]uint64{}
		r.Collect(func(s telemetry.Sample) { m[s.Name] = s.Value })
		return m
	}
	clusterTotal, listenerTotal := "cluster.a.upstream_cx_total", "listener.10.1.2.3_80.downstream_cx_total"
	if m := totals(); m[clusterTotal] != 4 || m[listenerTotal] != 4 {
		t.Fatalf("totals: %v", m)
	}
	fewer := *c
	fewer.Slots = c.Slots[:1]
	r.tables.Clusters = []*table.Cluster{&fewer}
	r.put()
	eventually(t, "the endpoint's end", func() bool { r.tidy(); return !r.Busy().Endpoint(2) })
	if m := totals(); m[clusterTotal] != 4 || m[listenerTotal] != 4 {
		t.Errorf("totals after an endpoint has gone: %d, %d", m[clusterTotal], m[listenerTotal])
	}
	r.close()
	r.open()
	r.tables.Clusters = nil
	next := *r.tables.Listeners[0]
	next.Shares = nil
	r.tables.Listeners = []*table.Listener{&next}
	r.put()
	eventually(t, "the cluster's end", func() bool { r.tidy(); return !r.Busy().Cluster(1) })
	if m := totals(); m[listenerTotal] != 4 {
		t.Errorf("the listener's total after its cluster has gone: %d", m[listenerTotal])
	}
	r.tables.Listeners = nil
	r.put()
	eventually(t, "the listener's end", func() bool { r.tidy(); return !r.Busy().Listener(1) })
	rows := 0
	r.eachFlow(func(kern.CFlowKey, *kern.CFlow) { rows++ })
	if rows != 1 {
		t.Errorf("%d rows of counters, want only the spare one", rows)
	}
}

// passAll is somebody else's program: it lets every connect through.
func passAll(t *testing.T, name string) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect,
		License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Programs of others are named, on our cgroups and above and below them, and go on.
func TestOthersAreNamed(t *testing.T) {
	r := newRig(t, Options{})
	inner := filepath.Join(r.root, r.cgroup, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eventually(t, "the cgroup's removal", func() bool { return os.Remove(inner) == nil }) })
	for name, cgroup := range map[string]string{"on_ours": filepath.Join(r.root, r.cgroup), "below": inner} {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: ebpf.AttachCGroupInet4Connect, Program: passAll(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	if got := startClient(t, inner, nil).who("10.1.2.3:80"); got != "a" {
		t.Errorf("beside the others' programs: %q", got)
	}
	said := strings.Join(r.Status().Foreign, "\n")
	for _, want := range []string{"cgroup " + r.cgroup + " is also handled by program", "(on_ours)", r.cgroup + "/inner", "(below)"} {
		if !strings.Contains(said, want) {
			t.Errorf("status does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "leno") && strings.Contains(said, "(leno_connect4)") {
		t.Errorf("our own programs are taken for others':\n%s", said)
	}
}

// A program that was attached alone forbids ours: the error says whose it is.
func TestExclusiveProgram(t *testing.T) {
	r := newRig(t, Options{})
	dir, err := os.Open(filepath.Join(r.root, r.cgroup))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	o := link.RawAttachProgramOptions{Target: int(dir.Fd()), Program: passAll(t, "alone"), Attach: ebpf.AttachCGroupInet4Connect}
	if err := link.RawAttachProgram(o); err != nil {
		t.Fatal(err)
	}
	detached := false
	free := func() {
		if !detached {
			detached = true
			if err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: o.Target, Program: o.Program, Attach: o.Attach}); err != nil {
				t.Error(err)
			}
		}
	}
	defer free()
	next := r.tables
	if err := r.Apply(&next); err == nil || !strings.Contains(err.Error(), "(alone) on cgroup "+r.cgroup) {
		t.Errorf("attach beside a program that was attached alone: %v", err)
	}
	free()
	if err := r.Apply(&next); err != nil {
		t.Errorf("after it has gone: %v", err)
	}
}

// Multipath TCP is not TCP to the connect hooks; a connect must not get around its listener that way.
func TestMultipathTCP(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	a := cl.do(order{Op: "socket", Proto: unix.IPPROTO_MPTCP})
	if a.Errno == unix.EPROTONOSUPPORT || a.Errno == unix.ENOPROTOOPT {
		t.Skip("this kernel has no MPTCP")
	}
	if a.Errno != 0 {
		t.Fatal(a.Errno)
	}
	if errno := cl.connect(a.FD, "10.1.2.3:80"); errno != 0 {
		t.Fatalf("connect: %v", errno)
	}
	if got := cl.must(order{Op: "drain", FD: a.FD}).Data; got != "a" {
		t.Errorf("reached %q", got)
	}
	cl.close(a.FD)
}

// UDP sockets connect to where they want.
func TestUDPIsLeftAlone(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	addr := server.LocalAddr().String()
	r.listener(addr, share)
	r.put()
	cl := r.client(nil)
	fd := cl.must(order{Op: "socket", Type: unix.SOCK_DGRAM}).FD
	if errno := cl.connect(fd, addr); errno != 0 {
		t.Fatal(errno)
	}
	cl.must(order{Op: "send", FD: fd, Value: 10})
	if err := server.SetReadDeadline(time.Now().Add(20 * time.Second * slow())); err != nil {
		t.Fatal(err)
	}
	if n, _, err := server.ReadFrom(make([]byte, 100)); n != 10 || err != nil {
		t.Errorf("the datagram did not arrive: %d, %v", n, err)
	}
	if n := r.counter(kern.CCounterCOUNT_PASS_PROTOCOL); n != 1 {
		t.Errorf("%d connects were counted as not TCP", n)
	}
}

// blackHole is a namespace in which 10.9.9.2 and fd00:9::2 swallow every packet.
func blackHole(t *testing.T) *os.File {
	t.Helper()
	ns := newNamespace(t)
	err := inNamespace(ns, func() error {
		d := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "hole"}, PeerName: "bottom"}
		if err := netlink.LinkAdd(d); err != nil {
			return err
		}
		bottom, err := netlink.LinkByName("bottom")
		if err != nil {
			return err
		}
		// No questions about neighbours: what is sent goes to nobody's address.
		if err := errors.Join(netlink.LinkSetARPOff(d), netlink.LinkSetUp(bottom)); err != nil {
			return err
		}
		for _, s := range []string{"10.9.9.1/24", "fd00:9::1/64"} {
			a, err := netlink.ParseAddr(s)
			if err != nil {
				return err
			}
			a.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(d, a); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(d)
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// connect_timeout bounds a handshake that nobody answers; the program's own TCP_USER_TIMEOUT does so before it.
func TestConnectTimeout(t *testing.T) {
	r := newRig(t, Options{})
	c, share := r.cluster("hole", netip.MustParseAddrPort("10.9.9.2:80"))
	c.ConnectTimeoutMS = 300
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(blackHole(t))
	start := time.Now()
	fd, errno := cl.dial("10.1.2.3:80")
	if took := time.Since(start); errno != unix.ETIMEDOUT || took < 200*time.Millisecond || took > 10*time.Second*slow() {
		t.Errorf("connect: %v after %v", errno, took)
	}
	if f := r.flow(1, 1, 1); f.Failed.Timedout != 1 || f.Attempted != 1 || f.Opened != 0 {
		t.Errorf("%+v", f)
	}
	if n := r.words.endpoint(1).Load(); n != 0 {
		t.Errorf("%d connections stay active", n)
	}
	cl.close(fd)
}

// A happy-eyeballs client tries IPv6, gives it up unanswered and takes IPv4: the one is counted as given up, the other serves.
func TestHappyEyeballs(t *testing.T) {
	ns := blackHole(t)
	r := newRig(t, Options{})
	_, hole := r.cluster("hole", netip.MustParseAddrPort("[fd00:9::2]:80"))
	_, good := r.cluster("good", netip.AddrPortFrom(netip.MustParseAddr("10.9.9.1"), serve(t, ns, "tcp4", "10.9.9.1:0", "four").Port()))
	r.listener("[2001:db8::1]:80", hole)
	r.listener("10.1.2.3:80", good)
	r.put()
	cl := r.client(ns)
	six := cl.must(order{Op: "socket", V6: true, Flags: unix.SOCK_NONBLOCK}).FD
	if errno := cl.connect(six, "[2001:db8::1]:80"); errno != unix.EINPROGRESS {
		t.Fatalf("IPv6: %v", errno)
	}
	four, errno := cl.dial("10.1.2.3:80")
	if errno != 0 {
		t.Fatalf("IPv4: %v", errno)
	}
	cl.close(six)
	if got := cl.must(order{Op: "drain", FD: four}).Data; got != "four" {
		t.Errorf("reached %q", got)
	}
	cl.close(four)
	if f := r.flow(1, 1, 1); f.Attempted != 1 || f.Failed.Canceled != 1 || active(&f) != 0 {
		t.Errorf("IPv6: %+v", f)
	}
	eventually(t, "the end of the IPv4 connection", func() bool { f := r.flow(2, 2, 2); return f.Opened == 1 && f.Closed == 1 })
}

// With TCP_FASTOPEN_CONNECT the handshake begins at the first write: counted then, by who it was given to.
func TestDeferredConnect(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	fd := cl.socket(false)
	cl.must(order{Op: "set", FD: fd, Proto: unix.TCP_FASTOPEN_CONNECT, Value: 1})
	for range 2 { // the first fetches the cookie, or does not: both must work
		if errno := cl.connect(fd, "10.1.2.3:80"); errno != 0 {
			t.Fatal(errno)
		}
		cl.must(order{Op: "send", FD: fd, Value: 10})
		if got := cl.must(order{Op: "drain", FD: fd}).Data; got != "a" {
			t.Errorf("reached %q", got)
		}
		cl.close(fd)
		fd = cl.socket(false)
		cl.must(order{Op: "set", FD: fd, Proto: unix.TCP_FASTOPEN_CONNECT, Value: 1})
	}
	cl.close(fd)
	eventually(t, "the connections' end", func() bool { f := r.flow(1, 1, 1); return f.Opened == 2 && f.Closed == 2 && f.TxBytes == 20 })
}

// Bytes and closes are counted also while no agent runs, whoever closes: client, server, a reset.
func TestCountedWithoutAgent(t *testing.T) {
	r := newRig(t, Options{})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, share := r.cluster("a", l.Addr().(*net.TCPAddr).AddrPort())
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	r.close()
	accept := func() (int, *net.TCPConn) {
		t.Helper()
		fd, errno := cl.dial("10.1.2.3:80")
		if errno != 0 {
			t.Fatal(errno)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return fd, c.(*net.TCPConn)
	}
	fd, c := accept() // the server closes first
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := len(cl.must(order{Op: "drain", FD: fd}).Data); n != 1000 {
		t.Errorf("the client got %d bytes", n)
	}
	cl.close(fd)
	fd, c = accept() // the client closes first
	cl.must(order{Op: "send", FD: fd, Value: 500})
	cl.close(fd)
	if n, err := c.Read(make([]byte, 1000)); n != 500 || err != nil {
		t.Errorf("the server got %d bytes, %v", n, err)
	}
	c.Close()
	fd, c = accept() // the server resets
	cl.must(order{Op: "send", FD: fd, Value: 7})
	if n, err := c.Read(make([]byte, 1000)); n != 7 || err != nil {
		t.Errorf("the server got %d bytes, %v", n, err)
	}
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reset", func() bool { return cl.do(order{Op: "drain", FD: fd}).Errno != 0 })
	cl.close(fd)
	r.open()
	eventually(t, "all closes", func() bool { return r.flow(1, 1, 1).Closed == 3 })
	if f := r.flow(1, 1, 1); f.TxBytes != 507 || f.RxBytes != 1000 || f.Opened != 3 || failures(&f) != 0 {
		t.Errorf("%+v", f)
	}
}

// A thread may live in another namespace than its process: its connects are served all the same.
func TestThreadElsewhere(t *testing.T) {
	r := newRig(t, Options{})
	r.listener("10.1.2.3:80").Tier = table.TierProxy
	r.run()
	go func() {
		for p := range r.Parked() {
			go answerAll(p.Socket, "agent")
		}
	}()
	r.put()
	cl := r.client(nil)
	cl.must(order{Op: "elsewhere"})
	eventually(t, "an agent listener", func() bool { return cl.who("10.1.2.3:80") == "agent" })
}
