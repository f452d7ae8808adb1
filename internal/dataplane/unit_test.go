// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/table"
)

// The test binary as an agent under the conditions of packaging/leno.service: jailArg gives it a mount namespace and
// capabilities, agentArg lets it do what an agent does.
const (
	jailArg  = "@jail"
	agentArg = "@agent"
)

var capabilityBits = map[string]int{
	"CAP_BPF": unix.CAP_BPF, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_PERFMON": unix.CAP_PERFMON, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN,
	"CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE, "CAP_NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE,
	"CAP_DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH,
}

// unitSetting reads one setting of the unit.
func unitSetting(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("../../packaging/leno.service")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the unit is not beside the tests")
	} else if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.Fields(v)
		}
	}
	t.Fatalf("the unit has no %s", name)
	return nil
}

// jail runs in a new mount namespace: /sys read-only but for the bpffs, as ProtectKernelTunables= and
// ProtectControlGroups= make it, and no capability but those named. Then it becomes the agent.
func jail(args []string) error {
	runtime.LockOSThread() // the bounding set belongs to a thread
	root, err := CgroupMount()
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, dir := range []string{"/sys", root} {
		if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make %s read-only: %w", dir, err)
		}
	}
	keep := strings.Split(args[0], ",")
	for bit := 0; bit <= unix.CAP_LAST_CAP; bit++ {
		if slices.ContainsFunc(keep, func(name string) bool { return capabilityBits[name] == bit && name != "" }) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(bit), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", bit, err)
		}
	}
	return syscall.Exec("/proc/self/exe", append([]string{"agent", agentArg}, args[1:]...), os.Environ())
}

// agent does what leno run asks of the kernel: load, attach, listen in a client's namespace, bind a low port; then once
// more over the pins.
func agent(args []string) error {
	cgroup, check := args[0], args[1]
	if check == "unchecked" {
		capabilities = nil // the kernel shall say it
	}
	o := Options{PinDir: filepath.Join("/sys/fs/bpf", filepath.Base(cgroup)+"-jail"), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	defer func() { _ = Remove(o.PinDir) }() // what failed is said already
	t := &table.Tables{Scopes: []*table.Scope{{ID: 1, Cgroup: cgroup}}, Listeners: []*table.Listener{
		{ID: 1, Name: "unbound", Scope: 1, Address: netip.MustParseAddrPort("10.1.2.3:80"), Tier: table.TierProxy}}}
	for range 2 {
		d, err := Open(o)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Apply(t), agentParks(d)); err != nil {
			return err
		}
		if err := d.Close(); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.3:1")
	if err != nil {
		return err
	}
	return l.Close()
}

func agentParks(d *Dataplane) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-d.parked:
			}
		}
	}()
	if err := d.parkOnce(ctx); err != nil {
		return err
	}
	var k kern.CParkKey
	var v kern.CPark
	n := 0
	for it := d.objs.Parks.Iterate(); it.Next(&k, &v); {
		n++
	}
	if n != 4 { // two families, two namespaces
		return fmt.Errorf("%d agent sockets, want 4: the client's namespace was not found", n)
	}
	return nil
}

// inJail runs the agent with these capabilities and returns what it printed.
func inJail(t *testing.T, caps []string, cgroup, check string) (string, error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", jailArg, strings.Join(caps, ","), cgroup, check)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The unit's capabilities are enough, each is needed, and a missing one is named. Its protections leave /sys readable only.
func TestUnitCapabilities(t *testing.T) {
	r := newRig(t, Options{})
	caps := unitSetting(t, "CapabilityBoundingSet")
	for _, c := range caps {
		if capabilityBits[c] == 0 && c != "" {
			t.Fatalf("the test does not know %s", c)
		}
	}
	// A program of another user, in a namespace of its own.
	dir, err := os.Open(filepath.Join(r.root, r.cgroup))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	program := exec.Command("sleep", "600")
	program.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Unshareflags: unix.CLONE_NEWNET,
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Process.Kill(); _ = program.Wait() }()
	setLoopbackUp(t, program.Process.Pid)

	if out, err := inJail(t, caps, r.cgroup, "checked"); err != nil {
		t.Fatalf("the unit's capabilities are not enough: %v\n%s", err, out)
	}
	for i, c := range caps {
		fewer := slices.Delete(slices.Clone(caps), i, i+1)
		if _, err := inJail(t, fewer, r.cgroup, "unchecked"); err == nil {
			t.Errorf("%s is in the unit, but everything works without it", c)
		}
		if c == "CAP_NET_BIND_SERVICE" {
			continue // the proxy's, not the kernel half's
		}
		if out, err := inJail(t, fewer, r.cgroup, "checked"); err == nil || !strings.Contains(out, "needs "+c) {
			t.Errorf("without %s: %v, and the sentence does not name it:\n%s", c, err, out)
		}
	}
}

func setLoopbackUp(t *testing.T, pid int) {
	t.Helper()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := inNamespace(ns, loopbackUp); err != nil {
		t.Fatal(err)
	}
}

// The errors of bpf(2) are explained.
func TestLoadIsExplained(t *testing.T) {
	for err, want := range map[error]string{
		unix.ENOMEM: "MemoryMax=", unix.EPERM: "SELinux", unix.EINVAL: "Linux 6.1",
	} {
		if got := explainLoad(fmt.Errorf("map create: %w", err)); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v is explained as %q", err, got)
		}
	}
}
