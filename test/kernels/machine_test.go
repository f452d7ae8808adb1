// SPDX-License-Identifier: Apache-2.0

// Package kernels holds the test of the machine that other tests run on: it
// says which facility is missing before they fail in less clear ways. run.sh
// boots stock kernels and runs it there first. It tests nothing of leno.
package kernels

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes cgroups and network namespaces")
	}
}

func TestKernelVersion(t *testing.T) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	t.Logf("kernel %s, %d processors", release, runtime.NumCPU())
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("release %q: %v", release, err)
	}
	if major < 6 || major == 6 && minor < 1 {
		t.Errorf("kernel %s: leno needs 6.1", release)
	}
}

func TestBTF(t *testing.T) {
	f, err := os.Open("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatalf("the kernel has no BTF: %v", err)
	}
	defer f.Close()
	magic := make([]byte, 2)
	if _, err := io.ReadFull(f, magic); err != nil || magic[0] != 0x9f || magic[1] != 0xeb {
		t.Errorf("first bytes %x, error %v: want 9feb", magic, err)
	}
}

// mount returns where a file system of that type is mounted.
func mount(t *testing.T, fsType string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[2] == fsType {
			return f[1]
		}
	}
	t.Fatalf("no %s is mounted", fsType)
	return ""
}

func TestCgroup(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(mount(t, "cgroup2"), fmt.Sprintf("leno-machine-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	}()
	if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
		t.Error(err)
	}
}

// leno mounts the file system itself where it is missing, so being able to is enough.
func TestBPFFileSystem(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatalf("mount a bpffs: %v", err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
}

func TestLoopback(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "127.8.9.10:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("listen on %s: %v", address, err)
			continue
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Errorf("connect to %s: %v", address, err)
		} else {
			c.Close()
		}
		l.Close()
	}
}

// A pair of virtual interfaces, one end of which moves to a new namespace: what "another node" is made of.
func TestVethBetweenNamespaces(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, whatever namespace it is in
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	other, err := netns.New() // and enters it
	if err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	defer other.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "leno-m0"}, PeerName: "leno-m1"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatalf("add a veth pair (is the driver loaded?): %v", err)
	}
	address, err := netlink.ParseAddr("10.254.254.1/30")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(veth, address); err != nil {
		t.Errorf("add an address: %v", err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		t.Errorf("set up: %v", err)
	}
	if err := netns.Set(home); err != nil {
		t.Errorf("return to the first namespace: %v", err)
	}
}
