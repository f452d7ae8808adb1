// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/leno-mesh/leno/internal/status"
)

// Agent is a running leno.
type Agent struct {
	*Proc
	http *http.Client
}

// Leno is the path of the binary under test (see Main).
func (r *Rig) Leno() string {
	r.T.Helper()
	path := os.Getenv("LENO_BIN")
	if path == "" {
		r.T.Fatal("no leno binary: TestMain of this package must call rig.Main")
	}
	return path
}

// Command is the program `leno verb ...` with the rig's pins and state.
func (r *Rig) Command(verb string, args ...string) Program {
	r.T.Helper()
	all := []string{r.Leno(), verb, "--state-dir", r.State}
	if verb == "run" || verb == "down" {
		all = append(all, "--pin-dir", r.Pins)
	}
	if verb == "run" {
		all = append(all, "--cgroup", r.Cgroup)
	}
	return Program{Args: append(all, args...), Outside: true}
}

// Agent starts leno on a configuration file and waits until all of it is in force.
func (r *Rig) Agent(config string, args ...string) *Agent {
	r.T.Helper()
	a := r.AgentNoWait(config, args...)
	a.Ready()
	return a
}

// Ready waits until all of the first configuration is in force.
func (a *Agent) Ready() {
	a.rig.T.Helper()
	a.rig.Until(20*time.Second, "leno is ready", func() bool {
		if !a.Running() {
			a.rig.T.Fatalf("leno ended (%v) before it was ready", a.err)
		}
		text, err := a.Get("/ready")
		return err == nil && strings.HasPrefix(text, "LIVE")
	})
}

// AgentNoWait starts leno and returns at once.
func (r *Rig) AgentNoWait(config string, args ...string) *Agent {
	r.T.Helper()
	return r.StartAgent(r.Command("run", append([]string{"-c", config}, args...)...))
}

// StartAgent starts leno by a program of Command that the test may have changed, and returns at once.
func (r *Rig) StartAgent(p Program) *Agent {
	r.T.Helper()
	a := &Agent{Proc: r.Start(p)}
	socket := filepath.Join(r.State, "admin.sock")
	a.http = &http.Client{
		Timeout: Slow(10 * time.Second),
		Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", socket)
			}},
	}
	r.agents = append(r.agents, a)
	return a
}

// down removes what the agents left in the kernel.
func (r *Rig) down() {
	if len(r.agents) == 0 {
		return
	}
	for _, a := range r.agents {
		a.Kill()
	}
	p := r.Start(r.Command("down"))
	if status := p.Wait(10 * time.Second); status != 0 {
		r.T.Errorf("leno down: exit status %d: %s", status, p.Output())
	}
	if _, err := os.Stat(r.Pins); err == nil {
		r.T.Errorf("leno down left %s behind", r.Pins)
	}
}

// Terminate is SIGTERM, and waits for the end.
func (a *Agent) Terminate(limit time.Duration) int {
	a.rig.T.Helper()
	a.Signal(syscall.SIGTERM)
	return a.Wait(limit)
}

// Interrupt is Ctrl-C, and waits for the end.
func (a *Agent) Interrupt(limit time.Duration) int {
	a.rig.T.Helper()
	a.Signal(syscall.SIGINT)
	return a.Wait(limit)
}

// Get asks the admin API.
func (a *Agent) Get(path string) (string, error) {
	resp, err := a.http.Get("http://leno" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", path, resp.StatusCode, text)
	}
	return string(text), err
}

// MustGet is Get; an error ends the test.
func (a *Agent) MustGet(path string) string {
	a.rig.T.Helper()
	text, err := a.Get(path)
	if err != nil {
		a.rig.T.Fatalf("admin: %v", err)
	}
	return text
}

// Status is what `leno status` would show.
func (a *Agent) Status() status.Status {
	a.rig.T.Helper()
	var st status.Status
	if err := json.Unmarshal([]byte(a.MustGet("/leno/status")), &st); err != nil {
		a.rig.T.Fatalf("read the status: %v", err)
	}
	return st
}

// Stats are all counters and gauges by name; absent ones read as 0.
type Stats map[string]uint64

// Stats reads /stats. Histograms are left out.
func (a *Agent) Stats() Stats {
	a.rig.T.Helper()
	s := Stats{}
	for _, line := range strings.Split(a.MustGet("/stats"), "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if n, err := strconv.ParseUint(value, 10, 64); ok && err == nil {
			s[name] = n
		}
	}
	return s
}

// Since returns how much each counter grew after before.
func (s Stats) Since(before Stats) Stats {
	d := Stats{}
	for name, n := range s {
		if n != before[name] {
			d[name] = n - before[name]
		}
	}
	return d
}
