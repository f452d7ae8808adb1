// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
)

var rigs atomic.Int32

// rig is a private cgroup and pin folder with an opened kernel half.
type rig struct {
	*Dataplane
	t      *testing.T
	o      Options
	root   string // cgroup2 mount
	cgroup string // below it
	tables table.Tables
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it loads programs into the kernel")
	}
	root := o.CgroupRoot
	if root == "" {
		var err error
		if root, err = CgroupMount(); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("leno-test-%d-%d", os.Getpid(), rigs.Add(1))
	r := &rig{t: t, o: o, root: root, cgroup: "/" + name}
	r.o.PinDir = filepath.Join("/sys/fs/bpf", name)
	r.o.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.removeCgroup)
	r.open()
	t.Cleanup(r.remove)
	r.tables.Scopes = []*table.Scope{{ID: 1, Cgroup: r.cgroup}}
	return r
}

func (r *rig) removeCgroup() {
	// Processes leave a cgroup some time after they were waited for.
	eventually(r.t, "the cgroup's removal", func() bool {
		err := os.Remove(filepath.Join(r.root, r.cgroup))
		return err == nil || errors.Is(err, os.ErrNotExist)
	})
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

func (r *rig) open() {
	r.t.Helper()
	d, err := Open(r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Dataplane = d
}

// close lets go, as the death of an agent does: the pins stay.
func (r *rig) close() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Error(err)
	}
	r.Dataplane = nil
}

func (r *rig) remove() {
	if r.Dataplane != nil {
		r.close()
	}
	if err := Remove(r.o.PinDir); err != nil {
		r.t.Error(err)
	}
}

// run starts Run until the test ends.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	d := r.Dataplane
	go func() { done <- d.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
}

// put applies the tables as they are now; Apply takes immutable values.
func (r *rig) put() {
	r.t.Helper()
	next := r.tables
	if err := r.Apply(&next); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) client(ns *os.File) *client {
	r.t.Helper()
	return startClient(r.t, filepath.Join(r.root, r.cgroup), ns)
}

// listener adds a socket-tier listener that does not bind, with these shares.
func (r *rig) listener(addr string, shares ...table.Share) *table.Listener {
	l := &table.Listener{ID: uint32(len(r.tables.Listeners) + 1), Name: addr, Scope: 1, Address: netip.MustParseAddrPort(addr),
		Tier: table.TierSocket, Shares: shares}
	r.tables.Listeners = append(r.tables.Listeners, l)
	return l
}

// cluster adds a cluster of these endpoints and returns a share of weight 1. Endpoint ids go on from cluster to cluster.
func (r *rig) cluster(name string, addrs ...netip.AddrPort) (*table.Cluster, table.Share) {
	c := &table.Cluster{ID: uint32(len(r.tables.Clusters) + 1), Cluster: mesh.ClusterID{Scope: r.cgroup, Name: name},
		MaxConnections: 1024, ConnectTimeoutMS: 5000, StatName: name}
	first := uint32(1)
	for _, o := range r.tables.Clusters {
		first += uint32(len(o.Slots))
	}
	for i, a := range addrs {
		c.Slots = append(c.Slots, table.Slot{Endpoint: first + uint32(i), Address: a})
	}
	r.tables.Clusters = append(r.tables.Clusters, c)
	return c, table.Share{Cluster: c.ID, Weight: 1}
}

// flow reads the counters of one endpoint.
func (r *rig) flow(listener, cluster, endpoint uint32) (f kern.CFlow) {
	r.t.Helper()
	if err := r.objs.Flows.Lookup(kern.CFlowKey{Listener: listener, Cluster: cluster, Endpoint: endpoint}, &f); err != nil {
		r.t.Fatalf("counters of listener %d, cluster %d, endpoint %d: %v", listener, cluster, endpoint, err)
	}
	return f
}

// counter sums one word of `counters` over all processors.
func (r *rig) counter(c kern.CCounter) (sum uint64) {
	r.t.Helper()
	var all []uint64
	if err := r.objs.Counters.Lookup(uint32(c), &all); err != nil {
		r.t.Fatal(err)
	}
	for _, v := range all {
		sum += v
	}
	return sum
}

// serve listens in the namespace (nil: the test's own) and tells every client its name once the client has finished.
func serve(t *testing.T, ns *os.File, network, addr, name string) netip.AddrPort {
	t.Helper()
	var l net.Listener
	listen := func() (err error) { l, err = net.Listen(network, addr); return err }
	var err error
	if ns == nil {
		err = listen()
	} else {
		err = inNamespace(ns, listen)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go answerAll(l, name)
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func answerAll(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.Copy(io.Discard, c); err == nil {
				_, _ = io.WriteString(c, name) // a client that left early is no fault of the server's
			}
		}()
	}
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// newNamespace makes a network namespace with loopback up. It lives as long as the file.
func newNamespace(t *testing.T) (ns *os.File) {
	t.Helper()
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := loopbackUp(); err != nil {
			return err
		}
		ns, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}
