// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

// countBefore counts the connections to listeners' addresses that are open before leno is attached. They go on without it.
func (d *Dataplane) countBefore(t *table.Tables, rows scopeRows) error {
	spaces, err := d.namespaces(t.Scopes, nil)
	if err != nil {
		return err
	}
	scopes := d.scopesBelow(t.Scopes, rows)
	keys := make(map[kern.CListenerKey]*table.Listener, len(t.Listeners))
	for _, l := range t.Listeners {
		keys[d.key(l)] = l
	}
	n := uint64(0)
	for _, s := range spaces {
		e := inNamespace(s.fd, func() error {
			return eachConnection(func(cgroup uint64, to netip.AddrPort) {
				if scope := scopes[cgroup]; scope != 0 && d.owned(keys, scope, s.cookie, to) {
					n++
				}
			})
		})
		s.fd.Close()
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("connections that were open before leno are not counted: %w", err)
	}
	if n == 0 {
		return nil
	}
	d.o.Log.Info("connections that were open before leno are left alone", "count", n)
	return d.addCounter(kern.CCounterCOUNT_PREEXISTING, n)
}

// scopesBelow maps every cgroup of a scope to it; the innermost wins.
func (d *Dataplane) scopesBelow(scopes []*table.Scope, rows scopeRows) map[uint64]uint32 {
	all := map[uint64]uint32{}
	byPath := map[string]uint32{}
	for _, cgroup := range outermost(scopes) {
		// Parents come before their children.
		_ = filepath.WalkDir(filepath.Join(d.o.CgroupRoot, cgroup), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil // it has gone meanwhile
			}
			id := inode(path)
			scope, ok := rows.scopes[id]
			if !ok {
				scope = byPath[filepath.Dir(path)]
			}
			byPath[path], all[id] = scope, scope
			return nil
		})
	}
	return all
}

// owned is owner_of of bpf/lookup.h.
func (d *Dataplane) owned(keys map[kern.CListenerKey]*table.Listener, scope uint32, netns uint64, to netip.AddrPort) bool {
	for _, addr := range []netip.Addr{to.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		for _, ns := range []uint64{netns, 0} {
			l := keys[kern.CListenerKey{Netns: ns, Addr: addr16(addr), Scope: scope, Port: to.Port()}]
			if l != nil && (addr == to.Addr() || d.wildcardTakes(l, netns, to.Addr())) {
				return true
			}
		}
	}
	return false
}

func (d *Dataplane) wildcardTakes(l *table.Listener, netns uint64, to netip.Addr) bool {
	family := kern.CListenerFlagLISTENER_V6
	if to.Is4() {
		family = kern.CListenerFlagLISTENER_V4
	}
	if flags(l)&family == 0 {
		return false
	}
	var v uint8
	return !l.Bound || to.IsLoopback() || d.objs.Locals.Lookup(&kern.CLocalKey{Netns: netns, Addr: addr16(to)}, &v) == nil
}

// Of linux/inet_diag.h and linux/sock_diag.h.
const (
	sockDiagByFamily = 20
	diagRequestSize  = 56
	diagMessageSize  = 72
	diagCgroupID     = 21
)

// diagRequest asks for the TCP sockets of a family that are open or opening.
type diagRequest struct{ family uint8 }

func (r diagRequest) Len() int { return diagRequestSize }

func (r diagRequest) Serialize() []byte {
	const established, synSent, closeWait = 1 << 1, 1 << 2, 1 << 8
	b := make([]byte, diagRequestSize)
	b[0], b[1] = r.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], established|synSent|closeWait)
	return b
}

// eachConnection visits the TCP connections of the calling thread's namespace: the socket's cgroup and the peer's address.
func eachConnection(visit func(cgroup uint64, to netip.AddrPort)) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		req.AddData(diagRequest{family})
		messages, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
		if err != nil {
			return fmt.Errorf("list TCP sockets: %w", err)
		}
		for _, m := range messages {
			if len(m) < diagMessageSize {
				continue // none that the kernel sends
			}
			attrs, err := nl.ParseRouteAttr(m[diagMessageSize:])
			if err != nil {
				return fmt.Errorf("list TCP sockets: %w", err)
			}
			for _, a := range attrs {
				if a.Attr.Type == diagCgroupID && len(a.Value) >= 8 {
					visit(binary.NativeEndian.Uint64(a.Value), diagPeer(m))
				}
			}
		}
	}
	return nil
}

// diagPeer reads the peer's address from a struct inet_diag_msg.
func diagPeer(m []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(m[6:])
	if m[0] == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(m[24:28])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(m[24:40])).Unmap(), port)
}

// addCounter adds to a word of `counters` that the programs do not write.
func (d *Dataplane) addCounter(c kern.CCounter, n uint64) error {
	var perCPU []uint64
	if err := d.objs.Counters.Lookup(uint32(c), &perCPU); err != nil {
		return fmt.Errorf("read a counter: %w", err)
	}
	perCPU[0] += n
	if err := d.objs.Counters.Update(uint32(c), perCPU, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("write a counter: %w", err)
	}
	return nil
}
