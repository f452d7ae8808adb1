// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// insideFlag is set in the processes that TestLenoAuto starts in a managed cgroup.
var insideFlag = flag.String("inside", "", "the managed cgroup that this process was started in (set by the test itself)")

// TestLenoAuto compares leno with all its tiers with what Envoy answered. Clients run inside the managed
// cgroup; the kernel's counters must show that every connect to a listener of the socket tier was decided
// there. By default only the scenarios that the socket tier can carry run; -tags full runs all.
func TestLenoAuto(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it attaches programs to a cgroup")
	}
	if *insideFlag != "" {
		playInside(t)
		return
	}
	binary := lenoBinary(t)
	for _, s := range loadCorpus(t) {
		if !full && !s.onlyTCP() || *recordFlag && s.part(autoPart) == "" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			cgroup := privateCgroup(t)
			cmd := exec.Command(os.Args[0], "-test.run=^TestLenoAuto$/^"+s.name+"$", "-test.timeout=2m",
				"-inside="+cgroup, "-leno="+binary, "-show="+strconv.FormatBool(*showFlag), "-record="+strconv.FormatBool(*recordFlag), "-test.v")
			dir, err := os.Open(cgroupMount(t) + cgroup)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
			out, err := cmd.CombinedOutput()
			if err != nil || *showFlag {
				t.Logf("%s", out)
			}
			if err != nil || !strings.Contains(string(out), "--- PASS: TestLenoAuto/"+s.name) {
				t.Errorf("inside the cgroup: %v", err)
			}
		})
	}
}

// onlyTCP says if no step speaks HTTP.
func (s *scenario) onlyTCP() bool {
	for _, st := range s.steps {
		if !st.tcp && !st.stats && !st.clusters && !st.checked {
			return false
		}
	}
	return true
}

// playInside plays the one scenario that -test.run names; this process is in the managed cgroup, leno is not.
func playInside(t *testing.T) {
	allowed := loadDifferences(t)
	for _, s := range loadCorpus(t) {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(s, t.TempDir())
			defer w.end()
			if err := s.write(w.dir, w); err != nil {
				t.Fatal(err)
			}
			p, err := startLeno(*lenoFlag, w, lenoPlace{tier: "auto", cgroup: *insideFlag, pins: privatePins(t),
				outside: cgroupMount(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.stop(os.Interrupt); err != nil {
					t.Errorf("%v\n%s", err, p.output())
				}
			}()
			if err := p.ready(); err != nil {
				t.Fatal(err)
			}
			pl := &player{w: w, dp: p}
			got, err := pl.play(s.steps)
			if err != nil {
				t.Fatalf("%v\n%s", err, p.output())
			}
			if *showFlag {
				t.Log(got)
			}
			if *recordFlag {
				if err := s.record(autoPart, lenoHeader+got); err != nil {
					t.Fatal(err)
				}
				return
			}
			want := parseRecording(allowed.apply("socket", s.expected(autoPart)))
			report(t, s, want, parseRecording(allowed.apply("socket", got)))
			checkTier(t, w, p, pl.dials)
		})
	}
}

// checkTier holds the connects that clients made against the kernel's counters.
func checkTier(t *testing.T, w *world, p *process, dials map[string]int) {
	t.Helper()
	tiers, err := p.tiers()
	if err != nil {
		t.Fatal(err)
	}
	stats, err := p.stats()
	if err != nil {
		t.Fatal(err)
	}
	kernel, wanted := 0, 0
	for name, value := range stats {
		n, _ := strconv.Atoi(value)
		if name == "leno.connect.endpoint" || strings.HasPrefix(name, "leno.connect_refused.") ||
			name == "leno.connect.agent_max_connections" {
			kernel += n
		}
	}
	for listener, n := range dials {
		tier := tiers[listener]
		if port, err := w.port(listener); tier == "" && err == nil { // an additional address
			tier = tiers[":"+strconv.Itoa(port)]
		}
		if tier == "socket" {
			wanted += n
		}
	}
	t.Logf("connects decided in the kernel: %d; tiers %v, connects %v", kernel, tiers, dials)
	if kernel != wanted {
		t.Errorf("the kernel decided %d connects, clients made %d to listeners of the socket tier (tiers %v, connects %v)",
			kernel, wanted, tiers, dials)
	}
}

// tiers reads from leno's status which tier carries each listener, by name and by port.
func (p *process) tiers() (map[string]string, error) {
	text, err := p.get("/leno/status")
	if err != nil {
		return nil, err
	}
	var st struct {
		Listeners []struct{ Name, Address, Tier, Error string }
	}
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	all := map[string]string{}
	for _, l := range st.Listeners {
		all[l.Name] = l.Tier
		all[l.Address[strings.LastIndexByte(l.Address, ':'):]] = l.Tier
	}
	return all, nil
}
