// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// A file that is bad at start: every problem listed, exit 1, nothing attached.
func TestBadFileAtStart(t *testing.T) {
	good := rig.Bootstrap(echoService(7001))
	files := map[string]struct{ text, say string }{
		"not YAML":       {"static_resources: [", "yaml"},
		"half written":   {good[:len(good)/2+7], ""},
		"invalid UTF-8":  {strings.Replace(good, "name: echo", "name: e\xffcho", 1), ""},
		"unknown field":  {good + "no_such_field: 1\n", "no_such_field"},
		"unknown filter": {strings.ReplaceAll(good, "tcp_proxy.v3.TcpProxy", "no_such.v3.Filter"), "no_such"},
		"unknown value":  {strings.Replace(good, "ROUND_ROBIN", "NO_SUCH", 1), "NO_SUCH"},
	}
	files["two problems"] = struct{ text, say string }{strings.Replace(files["unknown field"].text, "ROUND_ROBIN", "NO_SUCH", 1), "NO_SUCH"}
	for name, c := range files {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t)
			a := r.AgentNoWait(r.Write("bootstrap.yaml", c.text))
			if status := a.Wait(20 * time.Second); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			if out := a.Output(); !strings.Contains(out, c.say) || !strings.Contains(out, "bootstrap.yaml:") {
				t.Errorf("the message does not name %q, or not the file and the line:\n%s", c.say, out)
			}
			if out := a.Output(); name == "two problems" && !strings.Contains(out, "no_such_field") {
				t.Errorf("only one of two problems is listed:\n%s", out)
			}
			if _, err := os.Stat(r.Pins); err == nil {
				t.Errorf("%s was made for a bad file", r.Pins)
			}
		})
	}
}

// A listener whose cluster does not exist is valid (the cluster may come later): connects are refused, not let past it.
func TestUnknownCluster(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	text := strings.Replace(rig.Bootstrap(echoService(7001)), "cluster: echo", "cluster: absent", 1)
	r.Agent(r.Write("bootstrap.yaml", text))
	p := r.Start(r.Child("http-client", "http://"+target+"/"))
	if p.Wait(30*time.Second) == 0 || !strings.Contains(p.Output(), "connection refused") {
		t.Errorf("want a refused connect: %s", p.Output())
	}
}

func TestFileMissing(t *testing.T) {
	r := rig.New(t)
	a := r.AgentNoWait(filepath.Join(r.Dir, "absent.yaml"))
	if status := a.Wait(20 * time.Second); status != 1 || !strings.Contains(a.Output(), "absent.yaml") {
		t.Errorf("exit status %d, want 1 and the file's name:\n%s", status, a.Output())
	}
}

// A second agent on the same pins is refused with a sentence, and the first is not disturbed.
func TestSecondAgentRefused(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))
	first := r.Agent(config)
	load := peer.StartLoad(r, target, 2)
	second := r.Command("run", "-c", config)
	for i, arg := range second.Args {
		if arg == "--state-dir" {
			second.Args[i+1] = filepath.Join(r.Dir, "other-state")
		}
	}
	p := r.Start(second)
	if status := p.Wait(20 * time.Second); status != 1 || !strings.Contains(p.Output(), "another agent holds the pins") {
		t.Errorf("exit status %d, want a refusal in words:\n%s", status, p.Output())
	}
	if st := first.Status(); st.State != "LIVE" {
		t.Errorf("the first agent is %s", st.State)
	}
	load.Progress(20)
	clean(t, load.Stop())
}

// `leno down` removes everything, with an agent and after a crash; Ctrl-C too. SIGTERM leaves the kernel half in force.
func TestDown(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	config := r.Write("bootstrap.yaml", rig.Bootstrap(echoService(7001)))
	gone := func(when string) {
		t.Helper()
		if _, err := os.Stat(r.Pins); err == nil {
			t.Errorf("%s: %s is still there", when, r.Pins)
		}
		p := r.Start(r.Child("http-client", "http://"+target+"/"))
		if p.Wait(30*time.Second) == 0 || !strings.Contains(p.Output(), "network is unreachable") {
			t.Errorf("%s: the service's address is still taken: %s", when, p.Output())
		}
	}

	a := r.Agent(config)
	clean(t, peer.StartLoad(r, target, 2).Stop())
	r.Run(20*time.Second, r.Command("down"))
	a.Wait(10 * time.Second)
	gone("down with a running agent")

	a = r.Agent(config)
	a.Kill()
	clean(t, peer.StartLoad(r, target, 2).Stop())
	r.Run(20*time.Second, r.Command("down"))
	gone("down after a crash")

	a = r.Agent(config)
	if status := a.Interrupt(20 * time.Second); status != 0 {
		t.Errorf("Ctrl-C: exit status %d", status)
	}
	gone("Ctrl-C")

	a = r.Agent(config)
	if status := a.Terminate(20 * time.Second); status != 0 {
		t.Errorf("SIGTERM: exit status %d", status)
	}
	clean(t, peer.StartLoad(r, target, 2).Stop())
	r.Run(20*time.Second, r.Command("down"))
	gone("down after SIGTERM")
	r.Run(20*time.Second, r.Command("down")) // nothing to do is no error
}
