// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"errors"
	"fmt"
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

// CgroupMount finds where cgroup2 is mounted.
func CgroupMount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("look for the cgroup2 mount: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		// 36 35 98:0 /root /mount/point options - type source options (proc_pid_mountinfo(5))
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4], nil
		}
	}
	return "", errors.New("cgroup2 is not mounted (cgroup v1 only): mount it with `mount -t cgroup2 none /sys/fs/cgroup/unified`")
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
	if err := unix.Mount("bpf", mount, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a bpffs at %s (mount -t bpf bpf %s): %w", mount, mount, err)
	}
	return nil
}

// introduce writes who the agent is; its own sockets are exempt from now on.
func (d *Dataplane) introduce() error {
	cookie, err := netnsCookie()
	if err != nil {
		return err
	}
	d.netns = cookie
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
