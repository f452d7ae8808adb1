// SPDX-License-Identifier: Apache-2.0

package kern

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package kern -type unit_owner -type unit_share -type unit_slot -type unit_bucket -type unit_below -type unit_addr -type unit_failure unit ../../bpf/test/unit.bpf.c -- -O2 -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3 -I../../bpf -I/usr/include/x86_64-linux-gnu

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

func openUnit(t *testing.T) *unitObjects {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it runs programs in the kernel")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	var o unitObjects
	if err := loadUnitObjects(&o, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return &o
}

// run calls a decision with ctx, which also takes its answer.
func run[T any](t *testing.T, p *ebpf.Program, ctx T) T {
	t.Helper()
	if _, err := p.Run(&ebpf.RunOptions{Context: ctx, ContextOut: &ctx}); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// putRows makes one row of an array of maps.
func putRows(t *testing.T, outer *ebpf.Map, id uint32, size int, entries ...any) {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size),
		MaxEntries: uint32(len(entries)), Flags: unix.BPF_F_INNER_MAP})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, e := range entries {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.NativeEndian, e); err != nil {
			t.Fatal(err)
		}
		if err := m.Put(uint32(i), append(b.Bytes(), make([]byte, size-b.Len())...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := outer.Put(id, m); err != nil {
		t.Fatal(err)
	}
}

const targetSize, clusterSize = 48, 32 // union target, union cluster_entry

func address(s string) [16]byte { return netip.MustParseAddr(s).As16() }

func TestOwner(t *testing.T) {
	o := openUnit(t)
	const here, elsewhere = 77, 88 // namespace cookies
	add := func(id uint32, netns uint64, ip string, scope uint32, port uint16, flags CListenerFlag) {
		k := CListenerKey{Netns: netns, Scope: scope, Port: port}
		k.Addr.Ip = address(ip)
		putRows(t, o.Targets, id, targetSize, CTargetHead{Key: k, Flags: flags})
		if err := o.Listeners.Put(k, id); err != nil {
			t.Fatal(err)
		}
	}
	const v4, v6, local = CListenerFlagLISTENER_V4, CListenerFlagLISTENER_V6, CListenerFlagLISTENER_LOCAL_ONLY
	add(1, here, "10.0.0.1", 1, 80, v4)
	add(2, 0, "10.0.0.1", 1, 80, v4)
	add(3, here, "0.0.0.0", 1, 80, v4|local)
	add(4, 0, "0.0.0.0", 1, 81, v4)
	add(5, 0, "::", 1, 82, v4|v6)
	add(6, 0, "::", 1, 83, v6)
	add(7, 0, "10.0.0.1", 2, 80, v4)
	add(8, here, "127.0.0.1", 1, 84, v4)
	add(9, 0, "0.0.0.0", 1, 85, v4)
	add(10, 0, "::", 1, 85, v6)
	add(11, here, "::1", 1, 84, v6)
	k := CLocalKey{Netns: here}
	k.Addr.Ip = address("192.0.2.7")
	if err := o.Locals.Put(k, uint8(1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why   string
		ip    string
		netns uint64
		scope uint32
		port  uint16
		want  uint32
	}{
		{"exact in this namespace before every namespace", "10.0.0.1", here, 1, 80, 1},
		{"every namespace", "10.0.0.1", elsewhere, 1, 80, 2},
		{"another scope has listeners of its own", "10.0.0.1", here, 2, 80, 7},
		{"no such scope", "10.0.0.1", here, 3, 80, 0},
		{"no such port", "10.0.0.1", here, 1, 8080, 0},
		{"loopback is local", "127.9.9.9", here, 1, 80, 3},
		{"an address of the namespace is local", "192.0.2.7", here, 1, 80, 3},
		{"a foreign address is not local", "192.0.2.8", here, 1, 80, 0},
		{"the wildcard is of its namespace only", "127.0.0.1", elsewhere, 1, 80, 0},
		{"any address", "192.0.2.8", elsewhere, 1, 81, 4},
		{"0.0.0.0 takes no IPv6", "2001:db8::1", here, 1, 81, 0},
		{"[::] with ipv4_compat takes IPv6", "2001:db8::1", here, 1, 82, 5},
		{"[::] with ipv4_compat takes IPv4", "192.0.2.8", here, 1, 82, 5},
		{"[::] takes no IPv4", "192.0.2.8", here, 1, 83, 0},
		{"0.0.0.0 beside [::]", "192.0.2.8", here, 1, 85, 9},
		{"[::] beside 0.0.0.0", "2001:db8::1", here, 1, 85, 10},
		{"dialling 0.0.0.0 means loopback", "0.0.0.0", here, 1, 84, 8},
		{"dialling :: means loopback", "::", here, 1, 84, 11},
	} {
		got := run(t, o.RunOwner, unitUnitOwner{Netns: c.netns, Scope: c.scope, Port: c.port}.at(c.ip))
		if got.Listener != c.want || got.Stale != 0 {
			t.Errorf("%s: [%s]:%d belongs to listener %d (stale %d), want %d", c.why, c.ip, c.port, got.Listener, got.Stale, c.want)
		}
	}
}

func (u unitUnitOwner) at(ip string) unitUnitOwner {
	u.Addr.Ip = address(ip)
	return u
}

// A listener id that leads to a row of another key has been given out again while it was read.
func TestOwnerStale(t *testing.T) {
	o := openUnit(t)
	k := CListenerKey{Scope: 1, Port: 80}
	k.Addr.Ip = address("10.0.0.1")
	if err := o.Listeners.Put(k, uint32(1)); err != nil {
		t.Fatal(err)
	}
	dial := unitUnitOwner{Scope: 1, Port: 80}.at("10.0.0.1")
	if got := run(t, o.RunOwner, dial); got.Listener != 0 || got.Stale != 1 {
		t.Errorf("no row: listener %d, stale %d", got.Listener, got.Stale)
	}
	other := k
	other.Port = 81
	putRows(t, o.Targets, 1, targetSize, CTargetHead{Key: other})
	if got := run(t, o.RunOwner, dial); got.Listener != 0 || got.Stale != 1 {
		t.Errorf("another's row: listener %d, stale %d", got.Listener, got.Stale)
	}
}

func TestShare(t *testing.T) {
	o := openUnit(t)
	for _, weights := range [][]uint32{{1}, {1, 2, 97}, {50, 50}, {5, 0, 5}, {math.MaxUint32 - 1, 1}} {
		entries := []any{CTargetHead{Shares: uint32(len(weights))}}
		sum := uint32(0)
		for i, w := range weights {
			sum += w
			entries = append(entries, CTargetShare{Cluster: uint32(i), Upto: sum})
		}
		putRows(t, o.Targets, 1, targetSize, entries...)
		below := uint32(0)
		for i, w := range weights {
			if w == 0 {
				continue
			}
			for _, at := range []uint32{below, below + (w-1)/2, below + w - 1} {
				if got := run(t, o.RunShare, unitUnitShare{Listener: 1, At: at}); got.Index != uint32(i+1) {
					t.Errorf("weights %d: %d lies in share %d, want %d", weights, at, got.Index, i+1)
				}
			}
			below += w
		}
	}
}

func TestShareOfMany(t *testing.T) {
	o := openUnit(t)
	entries := []any{CTargetHead{Shares: 128}}
	for i := range 128 {
		entries = append(entries, CTargetShare{Cluster: uint32(i), Upto: uint32(i + 1)})
	}
	putRows(t, o.Targets, 1, targetSize, entries...)
	for at := range uint32(128) {
		if got := run(t, o.RunShare, unitUnitShare{Listener: 1, At: at}); got.Index != at+1 {
			t.Errorf("%d lies in share %d", at, got.Index)
		}
	}
}

// pick makes a cluster of n endpoints (ids from 1) and counts who is chosen in `times` picks.
func pick(t *testing.T, o *unitObjects, head CClusterHead, n, times int) []int {
	t.Helper()
	head.Slots = uint32(n)
	entries := []any{head}
	for i := range n {
		entries = append(entries, CClusterSlot{Endpoint: uint32(i + 1)})
	}
	putRows(t, o.Clusters, 1, clusterSize, entries...)
	got := make([]int, n+1)
	for range times {
		got[run(t, o.RunSlot, unitUnitSlot{Cluster: 1}).Endpoint]++
	}
	return got
}

func TestRingIsExact(t *testing.T) {
	o := openUnit(t)
	for endpoint, n := range pick(t, o, CClusterHead{Policy: CPolicyPOLICY_RING}, 7, 700) {
		if want := min(endpoint, 1) * 100; n != want {
			t.Errorf("endpoint %d was chosen %d times, want %d", endpoint, n, want)
		}
	}
}

func TestNoSlots(t *testing.T) {
	o := openUnit(t)
	for _, policy := range []CPolicy{CPolicyPOLICY_RING, CPolicyPOLICY_RANDOM, CPolicyPOLICY_LEAST} {
		if got := pick(t, o, CClusterHead{Policy: policy, Choices: 2}, 0, 1); got[0] != 1 {
			t.Errorf("policy %d chose an endpoint of an empty cluster", policy)
		}
	}
}

// withinBounds: n of times tries with probability p is no further from the mean than 6 standard deviations.
func withinBounds(n, times int, p float64) bool {
	return math.Abs(float64(n)-p*float64(times)) <= 6*math.Sqrt(p*(1-p)*float64(times))
}

func TestRandomIsUniform(t *testing.T) {
	o := openUnit(t)
	const times = 4000
	for endpoint, n := range pick(t, o, CClusterHead{Policy: CPolicyPOLICY_RANDOM}, 5, times)[1:] {
		if !withinBounds(n, times, 0.2) {
			t.Errorf("endpoint %d was chosen %d times of %d", endpoint+1, n, times)
		}
	}
}

func TestLeastPrefersTheIdle(t *testing.T) {
	o := openUnit(t)
	if err := o.EndpointActive.Put(uint32(1), uint64(5)); err != nil {
		t.Fatal(err)
	}
	// Two draws of two endpoints: the busy one is chosen only if both draws hit it.
	const times = 2000
	got := pick(t, o, CClusterHead{Policy: CPolicyPOLICY_LEAST, Choices: 2}, 2, times)
	if got[0] != 0 || !withinBounds(got[1], times, 0.25) {
		t.Errorf("none, busy, idle: %d; want the busy one in a quarter of %d", got, times)
	}
}

func TestBucket(t *testing.T) {
	o := openUnit(t)
	for _, c := range []struct {
		value uint64
		want  uint32
	}{{0, 0}, {1, 1}, {2, 2}, {3, 2}, {4, 3}, {1023, 10}, {1024, 11}, {1<<31 - 1, 31}, {1 << 31, 31}, {math.MaxUint64, 31}} {
		if got := run(t, o.RunBucket, unitUnitBucket{Value: c.value}); got.Bucket != c.want {
			t.Errorf("%d is counted in bucket %d, want %d", c.value, got.Bucket, c.want)
		}
	}
}

func TestBelow(t *testing.T) {
	o := openUnit(t)
	for _, c := range []struct{ random, n, want uint32 }{
		{0, 10, 0}, {math.MaxUint32, 10, 9}, {1 << 31, 10, 5}, {math.MaxUint32, 1, 0}, {math.MaxUint32, math.MaxUint32, math.MaxUint32 - 1},
	} {
		if got := run(t, o.RunBelow, unitUnitBelow{Random: c.random, N: c.n}); got.Result != c.want {
			t.Errorf("below(%d, %d) = %d, want %d", c.random, c.n, got.Result, c.want)
		}
	}
}

func TestAddr(t *testing.T) {
	o := openUnit(t)
	for _, c := range []struct {
		in, out           string
		v4, any, loopback uint32
	}{
		{"0.0.0.0", "127.0.0.1", 1, 1, 0}, {"::", "::1", 0, 1, 0}, {"127.0.0.1", "127.0.0.1", 1, 0, 1},
		{"127.255.0.9", "127.255.0.9", 1, 0, 1}, {"128.0.0.1", "128.0.0.1", 1, 0, 0}, {"::1", "::1", 0, 0, 1},
		{"::2", "::2", 0, 0, 0}, {"1::", "1::", 0, 0, 0}, {"0.0.0.1", "0.0.0.1", 1, 0, 0}, {"::127.0.0.1", "::127.0.0.1", 0, 0, 0},
	} {
		u := unitUnitAddr{}
		u.Addr.Ip = address(c.in)
		got := run(t, o.RunAddr, u)
		if got.V4 != c.v4 || got.Any != c.any || got.Loopback != c.loopback || got.Addr.Ip != address(c.out) {
			t.Errorf("%s: v4 %d, any %d, loopback %d, becomes %s; want %+v", c.in, got.V4, got.Any, got.Loopback,
				netip.AddrFrom16(got.Addr.Ip).Unmap(), c)
		}
	}
}

func TestFailure(t *testing.T) {
	o := openUnit(t)
	// The order of struct flow_failures.
	for _, c := range []struct {
		err  unix.Errno
		want uint32
	}{{unix.ECONNREFUSED, 0}, {unix.ETIMEDOUT, 1}, {unix.EHOSTUNREACH, 2}, {unix.ENETUNREACH, 2}, {unix.ECONNRESET, 3}, {0, 4}, {unix.EPERM, 5}} {
		if got := run(t, o.RunFailure, unitUnitFailure{Err: int32(c.err)}); got.Index != c.want {
			t.Errorf("errno %d is counted in word %d, want %d", c.err, got.Index, c.want)
		}
	}
}
