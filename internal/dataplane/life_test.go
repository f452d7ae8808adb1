// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
)

func TestCountersAreExact(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "hello"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	const n, size = 5, 100_000
	for range n {
		fd, errno := cl.dial("10.1.2.3:80")
		if errno != 0 {
			t.Fatal(errno)
		}
		if got := r.words.cluster(1).Load(); got != 1 {
			t.Errorf("%d connections are active", got)
		}
		cl.must(order{Op: "send", FD: fd, Value: size})
		cl.must(order{Op: "drain", FD: fd})
		cl.close(fd)
		eventually(t, "the connection's end", func() bool { return r.words.cluster(1).Load() == 0 })
	}
	f := r.flow(1, 1, 1)
	if f.Picked != n || f.Attempted != n || f.Opened != n || f.Closed != n || failures(&f) != 0 {
		t.Errorf("%+v", f)
	}
	if f.TxBytes != n*size || f.RxBytes != n*uint64(len("hello")) {
		t.Errorf("sent %d, received %d bytes", f.TxBytes, f.RxBytes)
	}
	sum := func(h [32]uint32) (s uint32) {
		for _, v := range h {
			s += v
		}
		return s
	}
	if sum(f.ConnectUs) != n || sum(f.LifetimeMs) != n {
		t.Errorf("histograms: %v %v", f.ConnectUs, f.LifetimeMs)
	}
	if got := r.words.endpoint(1).Load(); got != 0 {
		t.Errorf("%d connections stay active at the endpoint", got)
	}
}

func TestAgentIsExempt(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	agent := serve(t, nil, "tcp4", "127.0.0.1:0", "agent")
	r.listener(agent.String(), share).Bound = true
	r.put()
	if got := r.client(nil).who(agent.String()); got != "a" {
		t.Fatalf("a client reached %q", got)
	}
	move := func(cgroup string) {
		if err := os.WriteFile(filepath.Join(r.root, cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
	}
	home := ownCgroup(t)
	move(r.cgroup)
	defer move(home)
	c, err := net.Dial("tcp4", agent.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != agent.String() || r.counter(kern.CCounterCOUNT_PASS_AGENT) != 1 {
		t.Errorf("the agent's own connect went to %s", c.RemoteAddr())
	}
	if n := r.flow(1, 1, 1).Picked; n != 1 {
		t.Errorf("%d connects were placed", n)
	}
}

func ownCgroup(t *testing.T) string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSpace(path)
		}
	}
	return "/"
}

// The agent dies with connections open: new ones are placed without it, and the next one takes all of it over.
func TestTakeOver(t *testing.T) {
	r := newRig(t, Options{})
	id := mesh.ClusterID{Scope: r.cgroup, Name: "a"}
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	held, errno := cl.dial("10.1.2.3:80")
	if errno != 0 {
		t.Fatal(errno)
	}
	r.Counts().Connections(id).Add(5) // what the dying agent's proxy carries
	r.close()
	if got := cl.who("10.1.2.3:80"); got != "a" {
		t.Fatalf("without an agent: %q", got)
	}
	r.open()
	if got := r.words.cluster(1).Load(); got != 1 {
		t.Errorf("%d connections are active after the takeover, want the one that is open", got)
	}
	cfg := &mesh.Config{Scopes: []*mesh.Scope{{Cgroup: r.cgroup, Clusters: []*mesh.Cluster{{Name: "a"}}}}}
	back, err := r.Recovered(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Scopes) != 1 || back.Scopes[0].Cgroup != r.cgroup || len(back.Listeners) != 1 || len(back.Clusters) != 1 {
		t.Fatalf("recovered %+v", back)
	}
	l, c := back.Listeners[0], back.Clusters[0]
	if l.ID != 1 || l.Address.String() != "10.1.2.3:80" || l.Bound || c.ID != 1 || c.Cluster != id || len(c.Slots) != 1 ||
		c.Slots[0] != r.tables.Clusters[0].Slots[0] {
		t.Errorf("recovered listener %+v, cluster %+v", l, c)
	}
	r.put()
	if got := cl.who("10.1.2.3:80"); got != "a" {
		t.Errorf("after the takeover: %q", got)
	}
	cl.must(order{Op: "drain", FD: held})
	cl.close(held)
	eventually(t, "the old connection's end", func() bool { f := r.flow(1, 1, 1); return f.Opened == 3 && f.Closed == 3 })
}

// An id with an open connection is not given out again; afterwards its rows go.
func TestIDsThatHaveGone(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	cl := r.client(nil)
	fd, errno := cl.dial("10.1.2.3:80")
	if errno != 0 {
		t.Fatal(errno)
	}
	r.tables.Listeners, r.tables.Clusters = nil, nil
	r.put()
	r.tidy()
	b := r.Busy()
	if !b.Listener(1) || !b.Cluster(1) || !b.Endpoint(1) {
		t.Error("ids of an open connection are free")
	}
	if all := r.Endpoints(); len(all) != 1 || all[0].CxActive != 1 || all[0].Cluster.Name != "a" {
		t.Errorf("counters of the open connection: %+v", all)
	}
	cl.must(order{Op: "drain", FD: fd})
	cl.close(fd)
	eventually(t, "the ids' release", func() bool { r.tidy(); return !b.Listener(1) && !b.Cluster(1) && !b.Endpoint(1) })
	for name, m := range map[string]*ebpf.Map{"targets": r.objs.Targets, "clusters": r.objs.Clusters} {
		if rows, err := innerIDs(m, []uint32{1}); err != nil || len(rows) != 0 {
			t.Errorf("%s still has rows %v, error %v", name, rows, err)
		}
	}
	rows := 0
	r.eachFlow(func(kern.CFlowKey, *kern.CFlow) { rows++ })
	if rows != 1 {
		t.Errorf("%d rows of counters, want only the spare one", rows)
	}
}

func TestFullMap(t *testing.T) {
	r := newRig(t, Options{MaxListeners: 4})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	for _, port := range []string{"1", "2", "3"} {
		r.listener("10.1.2.3:"+port, share)
	}
	r.put()
	r.listener("10.1.2.3:4", share)
	next := r.tables
	if err := r.Apply(&next); err == nil || !strings.Contains(err.Error(), "--max-listeners") {
		t.Errorf("a fourth listener: %v", err)
	}
	cl := r.client(nil)
	if got := cl.who("10.1.2.3:3"); got != "a" {
		t.Errorf("the tables before do not serve: %q", got)
	}
	// All other addresses at once, in a map that has no room for both sets.
	r.tables.Listeners = nil
	for _, port := range []string{"11", "12", "13"} {
		r.listener("10.1.2.3:"+port, share)
	}
	r.put()
	if got := cl.who("10.1.2.3:13"); got != "a" {
		t.Errorf("after the exchange: %q", got)
	}
}

func TestSecondAgent(t *testing.T) {
	r := newRig(t, Options{})
	if _, err := Open(r.o); !errors.Is(err, ErrInUse) {
		t.Errorf("a second agent: %v", err)
	}
	if err := Remove(r.o.PinDir); !errors.Is(err, ErrInUse) {
		t.Errorf("remove under a living agent: %v", err)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	r := newRig(t, Options{})
	_, share := r.cluster("a", serve(t, nil, "tcp4", "127.0.0.1:0", "a"))
	r.listener("10.1.2.3:80", share)
	r.put()
	hooks := []ebpf.AttachType{ebpf.AttachCGroupSockOps, ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect,
		ebpf.AttachCgroupInet4GetPeername, ebpf.AttachCgroupInet6GetPeername, ebpf.AttachCgroupInet4GetSockname, ebpf.AttachCgroupInet6GetSockname}
	attached := func() (n int) {
		dir, err := os.Open(filepath.Join(r.root, r.cgroup))
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		for _, h := range hooks {
			res, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: h})
			if err != nil {
				t.Fatal(err)
			}
			n += len(res.Programs)
		}
		return n
	}
	if n := attached(); n != len(hooks) {
		t.Errorf("%d programs are attached, want %d", n, len(hooks))
	}
	r.close()
	if n := attached(); n != len(hooks) {
		t.Errorf("%d programs are attached without an agent, want %d", n, len(hooks))
	}
	if err := Remove(r.o.PinDir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the programs' end", func() bool { return attached() == 0 })
	if _, err := os.Stat(r.o.PinDir); !os.IsNotExist(err) {
		t.Errorf("the pin folder is still there: %v", err)
	}
}

// A proxy-tier listener that does not bind: the agent is given a socket in every namespace of the scope.
func TestParking(t *testing.T) {
	r := newRig(t, Options{})
	_, local := r.cluster("local", netip.MustParseAddrPort("127.0.0.1:9"))
	r.listener("10.1.2.3:80").Tier = table.TierProxy
	r.listener("10.1.2.3:81", local) // loopback of the agent's namespace: means something else elsewhere
	r.listener("[2001:db8::1]:80").Tier = table.TierProxy
	r.run()
	go func() {
		for p := range r.Parked() {
			if p.Scope == r.cgroup {
				go answerAll(p.Socket, "agent "+p.Listener)
			}
		}
	}()
	ns := newNamespace(t)
	cl := r.client(ns)
	r.put()
	for _, addr := range []string{"10.1.2.3:80", "10.1.2.3:81", "[2001:db8::1]:80"} {
		eventually(t, "an agent listener for "+addr, func() bool { return cl.who(addr) == "agent "+addr })
		fd, errno := cl.dial(addr)
		if errno != 0 {
			t.Fatal(errno)
		}
		if n := cl.must(order{Op: "names", FD: fd}); n.Peer.String() != addr {
			t.Errorf("a parked socket shows %s as its peer, want %s", n.Peer, addr)
		}
		cl.close(fd)
	}
	if r.counter(kern.CCounterCOUNT_CONNECT_AGENT_NETNS) == 0 {
		t.Error("no connect was sent to the agent for its endpoint's loopback address")
	}
	r.tables.Listeners = r.tables.Listeners[:1]
	r.put()
	eventually(t, "the end of the sockets of listeners that have gone", func() bool {
		var n int
		var k kern.CParkKey
		var v kern.CPark
		for it := r.objs.Parks.Iterate(); it.Next(&k, &v); {
			if k.Listener != 1 {
				n++
			}
		}
		return n == 0
	})
}
