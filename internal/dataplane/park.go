// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

// Parking is a listening socket in some network namespace, to which connects of one listener that need the agent are sent.
type Parking struct {
	Scope    string // mesh.Scope.Cgroup
	Listener string // mesh.Listener.Name
	Netns    uint64 // cookie
	Socket   net.Listener
}

// Parked delivers sockets to be served. They are closed by the dataplane when their listener or namespace goes.
func (d *Dataplane) Parked() <-chan Parking { return d.parked }

type parkKey struct {
	netns    uint64
	listener uint32
	v6       bool
}

type parkSocket struct {
	socket net.Listener
	rows   []kern.CParkKey
}

func (p *parkSocket) close() { _ = p.socket.Close() } // the proxy may have closed it already

// namespace is one network namespace with managed programs; fd is open for entering it.
type namespace struct {
	cookie uint64
	fd     *os.File
}

// park keeps one agent socket per namespace and listener that may need it.
func (d *Dataplane) park(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.rescan:
		case <-tick.C:
		}
		d.setMissing("agent listeners", d.parkOnce(ctx))
	}
}

func (d *Dataplane) parkOnce(ctx context.Context) error {
	d.mu.Lock()
	t := d.applied
	d.mu.Unlock()
	if t == nil {
		return nil
	}
	var unbound []*table.Listener
	for _, l := range t.Listeners {
		if !l.Bound && l.Tombstone == "" {
			unbound = append(unbound, l)
		}
	}
	var spaces []namespace
	if len(unbound) > 0 {
		var err error
		if spaces, err = d.namespaces(t.Scopes, d.living()); err != nil {
			return err
		}
	}
	defer func() {
		for _, s := range spaces {
			s.fd.Close()
		}
	}()
	var errs []error
	want := map[parkKey]bool{}
	for _, s := range spaces {
		for _, l := range unbound {
			for _, v6 := range families(l) {
				k := parkKey{s.cookie, l.ID, v6}
				want[k] = true
				errs = append(errs, d.ensurePark(ctx, s, k, l, t))
			}
		}
	}
	d.dropParks(want)
	return errors.Join(errs...)
}

// families says which sockets a listener needs: an IPv4 one, an IPv6 one, or both.
func families(l *table.Listener) []bool {
	switch {
	case l.Address.Addr().Is4():
		return []bool{false}
	case l.V4Compat:
		return []bool{false, true}
	default:
		return []bool{true}
	}
}

// ensurePark opens the socket if it is not there, hands it to the proxy and then shows it to the kernel.
func (d *Dataplane) ensurePark(ctx context.Context, s namespace, k parkKey, l *table.Listener, t *table.Tables) error {
	d.mu.Lock()
	_, ok := d.parks[k]
	d.mu.Unlock()
	if ok {
		return nil
	}
	socket, cookie, err := listenIn(s.fd, k.v6)
	if err != nil {
		return fmt.Errorf("listener %s has no agent socket in network namespace %d: %w", l.Name, s.cookie, err)
	}
	p := Parking{Scope: scopePath(t, l.Scope), Listener: l.Name, Netns: s.cookie, Socket: socket}
	select {
	case <-ctx.Done():
		return socket.Close()
	case d.parked <- p:
	}
	ps := &parkSocket{socket: socket}
	addr := socket.Addr().(*net.TCPAddr).AddrPort()
	row := kern.CPark{Addr: addr16(addr.Addr()), Port: addr.Port(), Cookie: cookie}
	for _, family := range []uint32{4, 6} {
		// An IPv6 socket cannot serve an IPv4 sockaddr; an IPv4 one serves v4-mapped dials, unless there is an IPv6 one.
		if (family == 4 && k.v6) || (family == 6 && !k.v6 && l.V4Compat) {
			continue
		}
		rk := kern.CParkKey{Netns: k.netns, Listener: k.listener, Family: family}
		if err := d.objs.Parks.Update(&rk, &row, ebpf.UpdateAny); err != nil {
			ps.close()
			if errors.Is(err, unix.E2BIG) {
				return fmt.Errorf("listener %s takes no traffic in network namespace %d: agent sockets (namespaces x listeners) "+
					"have a limit of %d; raise it with --max-parked (takes effect after `leno down`)", l.Name, s.cookie, d.objs.Parks.MaxEntries())
			}
			return fmt.Errorf("show the agent's socket to the kernel: %w", err)
		}
		ps.rows = append(ps.rows, rk)
	}
	d.mu.Lock()
	if d.parks == nil { // closed meanwhile
		ps.close()
	} else {
		d.parks[k] = ps
	}
	d.mu.Unlock()
	return nil
}

func scopePath(t *table.Tables, id uint32) string {
	for _, s := range t.Scopes {
		if s.ID == id {
			return s.Cgroup
		}
	}
	return ""
}

// dropParks closes the sockets that nothing needs, and removes rows that an earlier agent left.
func (d *Dataplane) dropParks(want map[parkKey]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	live := map[kern.CParkKey]bool{}
	for k, p := range d.parks {
		if want[k] {
			for _, r := range p.rows {
				live[r] = true
			}
			continue
		}
		p.close()
		delete(d.parks, k)
	}
	var k kern.CParkKey
	var v kern.CPark
	var gone []kern.CParkKey
	for it := d.objs.Parks.Iterate(); it.Next(&k, &v); {
		if !live[k] {
			gone = append(gone, k)
		}
	}
	for i := range gone {
		// It may have gone by itself; a row that stays leads to a closed port and is refused there.
		_ = d.objs.Parks.Delete(&gone[i])
	}
}

// namespaces lists the network namespaces of the programs in the scopes' cgroups, of the askers' threads, and the agent's own.
func (d *Dataplane) namespaces(scopes []*table.Scope, askers []int) ([]namespace, error) {
	own, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the own network namespace: %w", err)
	}
	all := []namespace{{d.netns, own}}
	seen := map[uint64]bool{inode("/proc/self/ns/net"): true}
	look := func(ns string) {
		id := inode(ns)
		if id == 0 || seen[id] {
			return
		}
		seen[id] = true
		if s, err := openNamespace(ns); err == nil {
			all = append(all, s)
		}
	}
	for _, cgroup := range outermost(scopes) {
		// Cgroups and processes vanish while we look; whoever is left is found.
		_ = filepath.WalkDir(filepath.Join(d.o.CgroupRoot, cgroup), func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil
			}
			for _, pid := range procs(path) {
				look("/proc/" + strconv.Itoa(pid) + "/ns/net")
			}
			return nil
		})
	}
	// Threads may live in other namespaces than their process: looked at where a connect was refused.
	for _, pid := range askers {
		tasks, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task") // it may have ended
		for _, t := range tasks {
			look("/proc/" + strconv.Itoa(pid) + "/task/" + t.Name() + "/ns/net")
		}
	}
	return all, nil
}

// living lists the processes that asked for an agent socket and have not ended.
func (d *Dataplane) living() (pids []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for pid := range d.askers {
		if inode("/proc/"+strconv.Itoa(pid)) == 0 {
			delete(d.askers, pid)
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}

func inode(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

func procs(cgroup string) []int {
	b, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if pid, err := strconv.Atoi(s.Text()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func openNamespace(path string) (namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return namespace{}, err
	}
	s := namespace{fd: f}
	if err = inNamespace(f, func() error { s.cookie, err = netnsCookie(); return err }); err != nil {
		f.Close()
	}
	return s, err
}

// inNamespace runs fn on a thread inside the namespace.
func inNamespace(ns *os.File, fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn on a thread that ends with it, so that it never serves anybody else. It is never the process's first
// thread: that one does not end, and /proc/self shows its namespaces as the process's.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(fn) // elsewhere, since this thread is taken
			runtime.UnlockOSThread()
			return
		}
		done <- fn() // never unlocked: the runtime ends the thread with this goroutine
	}()
	return <-done
}

// listenIn opens a listening socket on a loopback address of the namespace, and says which cookie it has.
func listenIn(ns *os.File, v6 bool) (l net.Listener, cookie uint64, err error) {
	network, ip := "tcp4", netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if v6 {
		network, ip = "tcp6", netip.IPv6Loopback()
	}
	lc := net.ListenConfig{}
	// Plain TCP: the other end is plain TCP too, and MPTCP sockets cost more.
	lc.SetMultipathTCP(false)
	err = inNamespace(ns, func() error {
		l, err = lc.Listen(context.Background(), network, netip.AddrPortFrom(ip, 0).String())
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if cookie, err = cookieOf(l.(*net.TCPListener)); err != nil {
		l.Close()
		return nil, 0, err
	}
	return l, cookie, nil
}

func cookieOf(l *net.TCPListener) (cookie uint64, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctl := raw.Control(func(fd uintptr) { cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) })
	return cookie, errors.Join(ctl, err)
}

// clearParks removes the rows that an earlier agent left.
func (d *Dataplane) clearParks() error {
	var k kern.CParkKey
	var v kern.CPark
	var all []kern.CParkKey
	it := d.objs.Parks.Iterate()
	for it.Next(&k, &v) {
		all = append(all, k)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read the agent sockets of before: %w", err)
	}
	for i := range all {
		if err := d.objs.Parks.Delete(&all[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove an agent socket of before: %w", err)
		}
	}
	return nil
}
