// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
)

// layout is LENO_LAYOUT of bpf/types.h.
const layout = 1

const settingsSize = unsafe.Sizeof(kern.CSettings{})

// checkSystem looks for what the kernel half needs and fills in what Options left open. Each error is a sentence that
// says what to do.
func checkSystem(o *Options) error {
	if os.Geteuid() != 0 {
		return errors.New("the kernel half needs root: run leno as root")
	}
	if lack := missingCapabilities(); lack != "" {
		return fmt.Errorf("the kernel half needs %s: add it to the unit's CapabilityBoundingSet=, or to the container's capabilities", lack)
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return errors.New("this kernel has no BTF (/sys/kernel/btf/vmlinux): use one built with CONFIG_DEBUG_INFO_BTF=y")
	}
	if o.CgroupRoot == "" {
		root, err := CgroupMount()
		if err != nil {
			return err
		}
		o.CgroupRoot = root
	}
	return ensureBPFFS(o.PinDir)
}

// capabilities that loading, attaching, entering namespaces and finding those of other users' programs need.
// CAP_SYS_ADMIN stands for CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN too (kernel/bpf/syscall.c).
var capabilities = []struct {
	bit  int
	name string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
}

// missingCapabilities names those that this process does not have.
func missingCapabilities() string {
	var data [2]unix.CapUserData
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&head, &data[0]); err != nil {
		return "" // what is missing shows where it is used
	}
	var lack []string
	for _, c := range capabilities {
		if data[c.bit/32].Effective>>(c.bit%32)&1 == 0 {
			lack = append(lack, c.name)
		}
	}
	return strings.Join(lack, " and ")
}

// explainLoad says in one sentence why the kernel did not take the programs or maps, and what to do.
func explainLoad(err error) error {
	lockdown, _ := os.ReadFile("/sys/kernel/security/lockdown") // absent where the kernel knows no lockdown
	var refused *ebpf.VerifierError
	switch {
	case strings.Contains(string(lockdown), "[confidentiality]"):
		return fmt.Errorf("load the kernel half: this kernel is locked down for confidentiality, which forbids programs to read "+
			"kernel memory: boot with lockdown=integrity, or use --tier=proxy: %w", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("load the kernel half: no memory for its maps, which the agent's cgroup pays for: raise the memory limit "+
			"(MemoryMax=, memory.max), or make them smaller with --max-listeners, --max-clusters, --max-endpoints and --max-flows: %w", err)
	case errors.As(err, &refused):
		return fmt.Errorf("load the kernel half: this kernel's verifier refuses it (needs Linux 6.1 or newer); please report it: %w", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("load the kernel half: a security module (SELinux, seccomp) forbids bpf(2); look into the audit log and "+
			"allow leno's domain bpf { map_create map_read map_write prog_load prog_run }: %w", err)
	default:
		return fmt.Errorf("load the kernel half (needs Linux 6.1 or newer with BTF): %w", err)
	}
}

// CgroupMount finds where cgroup2 is mounted.
func CgroupMount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("look for the cgroup2 mount: %w", err)
	}
	defer f.Close()
	return cgroupMount(f)
}

// cgroupMount reads mountinfo. A mount of the whole hierarchy goes before one of a part of it.
func cgroupMount(mountinfo io.Reader) (string, error) {
	part := ""
	s := bufio.NewScanner(mountinfo)
	for s.Scan() {
		// 36 35 98:0 /root /mount/point options - type source options (proc_pid_mountinfo(5))
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		if fields[3] == "/" {
			return fields[4], nil
		}
		if part == "" {
			part = fields[4]
		}
	}
	if err := s.Err(); err != nil {
		return "", fmt.Errorf("look for the cgroup2 mount: %w", err)
	}
	if part == "" {
		return "", errors.New("cgroup2 is not mounted (cgroup v1 only): mount it with `mount -t cgroup2 none /sys/fs/cgroup/unified`")
	}
	return part, nil
}

// ensureBPFFS mounts a bpffs at /sys/fs/bpf if the pins would not lie in one.
func ensureBPFFS(pinDir string) error {
	dir := pinDir
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil && st.Type == unix.BPF_FS_MAGIC {
			return nil
		}
		if err == nil {
			break
		}
		if dir == "/" {
			return fmt.Errorf("look at %s: %w", pinDir, err)
		}
		dir = filepath.Dir(dir)
	}
	const mount = "/sys/fs/bpf"
	if !strings.HasPrefix(pinDir, mount+"/") {
		return fmt.Errorf("%s does not lie in a bpffs: choose a --pin-dir below %s", pinDir, mount)
	}
	if !hostMounts() {
		// The mount, and with it all pins, would end with this namespace: a restart would open a gap around the policy.
		return fmt.Errorf("no bpffs is mounted at %s, and leno sees private mounts only: mount it for the host (mount -t bpf bpf %s)", mount, mount)
	}
	if err := unix.Mount("bpf", mount, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a bpffs at %s (mount -t bpf bpf %s): %w", mount, mount, err)
	}
	return nil
}

// hostMounts says whether what we mount stays when we end: whether our mount namespace is that of process 1 or, where
// process 1 doesn't let itself be looked at, of the kernel's threads.
func hostMounts() bool {
	host := inode("/proc/1/ns/mnt")
	if host == 0 {
		host = inode("/proc/2/ns/mnt")
	}
	return host != 0 && inode("/proc/self/ns/mnt") == host
}

// introduce writes who the agent is; its own sockets are exempt from now on.
func (d *Dataplane) introduce() error {
	cookie, err := netnsCookie()
	if err != nil {
		return err
	}
	d.netns = cookie
	// Before anybody takes us for alive: the sockets of an earlier agent are closed.
	if err := d.clearParks(); err != nil {
		return err
	}
	if err := d.writeLocals(); err != nil {
		d.setMissing("local addresses", err) // Run looks again
	}
	if err := d.writeSettings(func(s *kern.CSettings) {
		s.AgentNetns = cookie
		s.AgentDeadNs = agentDeadNs
		s.Layout = layout
		s.HeartbeatNs = monotonicNs()
	}); err != nil {
		return err
	}
	// The program writes the process id as the hooks see it, whatever pid namespace we are in.
	if _, err := d.objs.LenoWhoami.Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("ask the kernel who we are: %w", err)
	}
	// The row that takes what finds no room must always be there.
	var zero kern.CFlow
	err = d.objs.Flows.Update(kern.CFlowKey{}, &zero, ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("make the spare row of counters: %w", err)
	}
	return nil
}

// writeSettings changes the one row of settings. The heartbeat and Apply both do: without the lock one would write the
// other's words back as they were.
func (d *Dataplane) writeSettings(change func(*kern.CSettings)) error {
	d.settingsMu.Lock()
	defer d.settingsMu.Unlock()
	var s kern.CSettings
	if err := d.objs.Settings.Lookup(uint32(0), &s); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	change(&s)
	if err := d.objs.Settings.Update(uint32(0), &s, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// netnsCookie names the network namespace of the calling thread, as the kernel's programs see it.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace's cookie (needs Linux 5.14): %w", err)
	}
	return cookie, nil
}

func monotonicNs() uint64 {
	var ts unix.Timespec
	// CLOCK_MONOTONIC always exists.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}
