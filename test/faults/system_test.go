// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// behind starts p from a shell that has run script first, in a mount namespace of its own.
func behind(script string, p rig.Program) rig.Program {
	p.Args = append([]string{"unshare", "--mount", "sh", "-ec", script + "\nexec \"$@\"", "sh"}, p.Args...)
	return p
}

// nobody starts p without root; its files must be readable for all.
func nobody(p rig.Program) rig.Program {
	p.User = &syscall.Credential{Uid: 65534, Gid: 65534}
	p.Dir = "/"
	return p
}

// without starts p as root without some capabilities.
func without(capabilities string, p rig.Program) rig.Program {
	p.Args = append([]string{"setpriv", "--bounding-set=" + capabilities, "--"}, p.Args...)
	return p
}

const noCgroup2 = `awk '$3 == "cgroup2" {print $2}' /proc/self/mounts | while read -r m; do umount -l "$m"; done`

// What the kernel half needs and does not find is said in one sentence with exit status 1 and nothing attached; what
// needs no kernel half runs when it is asked for.
func TestMissingFromTheSystem(t *testing.T) {
	for _, c := range []struct {
		name, say string
		change    func(rig.Program) rig.Program
	}{
		{"root", "root", nobody},
		{"BTF", "BTF", func(p rig.Program) rig.Program { return behind("mount -t tmpfs none /sys/kernel/btf", p) }},
		{"cgroup v2", "cgroup2", func(p rig.Program) rig.Program { return behind(noCgroup2, p) }},
		{"bpffs of the host", "for the host", func(p rig.Program) rig.Program { return behind("umount -l /sys/fs/bpf || :", p) }},
		{"a place for bpffs", "bpffs", func(p rig.Program) rig.Program {
			return behind("mount -t tmpfs -o ro none /sys/fs", p)
		}},
		{"the right to load programs", "capabilit", func(p rig.Program) rig.Program { return without("-bpf,-sys_admin", p) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rig.New(t)
			peer.StartEcho(r, "127.0.0.1:7001")
			bound := rig.TCPService{Name: "echo", Address: "127.0.0.1:9007", Bind: true, Endpoints: []string{"127.0.0.1:7001"}}
			config := filepath.Join(r.State, "bootstrap.yaml")
			overwrite(t, config, rig.Bootstrap(bound))
			must(t, os.Chown(r.State, 65534, 65534)) // for the one that is not root
			p := r.Start(c.change(r.Command("run", "-c", config)))
			if status := p.Wait(20 * time.Second); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			out := strings.TrimSpace(p.Output())
			if !strings.Contains(out, c.say) || !strings.Contains(out, "--tier=proxy") || strings.Contains(out, "\n") {
				t.Errorf("want one line that names %s and --tier=proxy:\n%s", c.say, out)
			}
			if _, err := os.Stat(r.Pins); err == nil {
				t.Errorf("%s was left behind", r.Pins)
			}

			a := r.StartAgent(c.change(r.Command("run", "-c", config, "--tier=proxy")))
			a.Ready()
			if off := a.Status().Kernel.Off; !strings.Contains(off, c.say) {
				t.Errorf("the status says of the kernel half %q, want %s", off, c.say)
			}
			clean(t, peer.StartLoad(r, bound.Address, 4).Stop())
			if n := a.Stats()["cluster.echo.upstream_cx_total"]; n == 0 {
				t.Error("the agent carried no connection")
			}
			if status := a.Terminate(20 * time.Second); status != 0 {
				t.Errorf("SIGTERM: exit status %d", status)
			}
		})
	}
}

// A bpffs that is not mounted is mounted. The agent gets a process namespace of its own too, so that its mounts are those
// of process 1.
func TestBPFFSIsMounted(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	p := behind("umount -l /sys/fs/bpf || :", r.Command("run", "-c", r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))))
	p.Args = append([]string{p.Args[0], "--pid", "--fork", "--kill-child", "--mount-proc"}, p.Args[1:]...)
	a := r.StartAgent(p)
	a.Ready()
	clean(t, peer.StartLoad(r, target, 2).Stop())
	carried(t, a.Stats(), "auto")
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", a.PID()))
	must(t, err)
	if !strings.Contains(string(mounts), " /sys/fs/bpf bpf ") {
		t.Errorf("no bpffs among the agent's mounts:\n%s", mounts)
	}
	if _, err := os.Stat(r.Pins); err == nil {
		t.Errorf("%s lies in the test's own bpffs: the agent had one from the start", r.Pins)
	}
}

// memoryLimit makes a cgroup with a limit of memory and returns the shell command that enters it and the file of the limit.
func memoryLimit(r *rig.Rig) (enter, limit string) {
	r.T.Helper()
	v2 := strings.TrimSuffix(filepath.Dir(filepath.Dir(r.CgroupDir())), "/")
	dir, file := filepath.Join("/sys/fs/cgroup/memory", r.Name), "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err != nil {
		dir, file = filepath.Join(v2, r.Name+"-memory"), "memory.max"
		if err := os.WriteFile(filepath.Join(v2, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
			r.T.Skipf("this machine hands out no memory controller: %v", err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { r.Until(10*time.Second, dir+" is empty", func() bool { return os.Remove(dir) == nil }) })
	return fmt.Sprintf("echo $$ >%s/cgroup.procs", dir), filepath.Join(dir, file)
}

// Too little memory for the maps: a sentence that says what to do, or the kernel kills the agent; never something
// half-attached, and a start with enough memory works.
func TestMemoryLimitAtStart(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))
	enter, limit := memoryLimit(r)
	for _, mb := range []int{12, 14, 16, 18, 20, 22, 24} {
		overwrite(t, limit, fmt.Sprint(mb<<20))
		a := r.StartAgent(behind(enter, r.Command("run", "-c", config)))
		ready := func() bool { _, err := a.Get("/ready"); return err == nil }
		r.Until(20*time.Second, "the agent ends or serves", func() bool { return !a.Running() || ready() })
		switch {
		case a.Running():
			clean(t, peer.StartLoad(r, target, 2).Stop())
		case a.Wait(time.Second) == 1:
			if out := a.Output(); !strings.Contains(out, "memory limit") || !strings.Contains(out, "--max-flows") {
				t.Errorf("%d MB: the message does not say what to do:\n%s", mb, out)
			}
			if _, err := os.Stat(r.Pins); err == nil {
				t.Errorf("%d MB: %s was left behind", mb, r.Pins)
			}
		case a.Wait(time.Second) != -1:
			t.Errorf("%d MB: exit status %d", mb, a.Wait(time.Second))
		}
		a.Kill()
		r.Run(20*time.Second, r.Command("down"))
	}
	r.Agent(config)
	clean(t, peer.StartLoad(r, target, 2).Stop())
}

// Memory runs out while the agent serves: what does not fit is named, or the kernel kills the agent; what was in force
// serves on through both, and with memory again everything is in force.
func TestMemoryLimitWhileServing(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	enter, limit := memoryLimit(r)
	config := r.Watched(echoService(7001))
	start := func() *rig.Agent { return r.StartAgent(behind(enter, r.Command("run", "-c", config))) }
	a := start()
	a.Ready()
	load := peer.StartLoad(r, target, 4)
	used, err := os.ReadFile(strings.NewReplacer("limit_in_bytes", "usage_in_bytes", "memory.max", "memory.current").Replace(limit))
	must(t, err)
	now, err := strconv.Atoi(strings.TrimSpace(string(used)))
	must(t, err)
	overwrite(t, limit, fmt.Sprint(now+4<<20))
	r.Publish(many(5000)...)
	r.Until(60*time.Second, "the memory does not suffice", func() bool {
		if !a.Running() {
			return true
		}
		text, err := a.Get("/leno/status")
		return err == nil && strings.Contains(text, "memory limit")
	})
	load.Progress(50)
	overwrite(t, limit, "1073741824")
	if !a.Running() {
		t.Log("the kernel killed the agent")
		a = start()
		a.Ready()
	}
	r.Until(30*time.Second, "all is in force", func() bool { return entries(r)["listeners"] == 5001 && a.Status().Kernel.LastError == "" })
	load.Progress(50)
	clean(t, load.Stop())
	clean(t, peer.StartLoad(r, many(5000)[5000].Address, 2).Stop())
}
