// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"encoding/json"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/leno-mesh/leno/test/rig"
)

// Load is a started load.
type Load struct {
	*rig.Proc
	r *rig.Rig
}

// StartLoad keeps n checked connections to target busy, from inside the managed cgroup, and waits until some went well.
func StartLoad(r *rig.Rig, target string, n int) *Load {
	r.T.Helper()
	return StartLoadIn(r, r.Home, target, n)
}

// StartLoadIn is StartLoad from another namespace.
func StartLoadIn(r *rig.Rig, ns *rig.Namespace, target string, n int) *Load {
	r.T.Helper()
	p := r.Child("load", target, strconv.Itoa(n))
	p.Namespace = ns
	l := &Load{Proc: r.Start(p), r: r}
	l.Progress(1)
	return l
}

// StartSteady keeps one connection to target busy, from inside the managed cgroup.
func StartSteady(r *rig.Rig, target string) *Load {
	r.T.Helper()
	l := &Load{Proc: r.Start(r.Child("steady", target)), r: r}
	l.Progress(1)
	return l
}

// StartHTTPLoad keeps n HTTP clients of url busy, from inside the managed cgroup.
func StartHTTPLoad(r *rig.Rig, url string, n int) *Load {
	r.T.Helper()
	l := &Load{Proc: r.Start(r.Child("http-load", url, strconv.Itoa(n))), r: r}
	l.Progress(1)
	return l
}

// StartHTTP starts the HTTP server in Home and waits until it takes connections.
func StartHTTP(r *rig.Rig, address string) *rig.Proc {
	r.T.Helper()
	return r.Serve(address, r.Child("http-server", address))
}

// StartEcho starts an echo server in Home and waits until it takes connections.
func StartEcho(r *rig.Rig, address string) *rig.Proc {
	r.T.Helper()
	return r.Serve(address, r.Child("echo", address))
}

// Report is the newest report.
func (l *Load) Report() Report {
	l.r.T.Helper()
	lines := strings.Split(l.Output(), "\n")
	var rep Report
	// The last piece is empty or half a line.
	if len(lines) > 1 {
		if err := json.Unmarshal([]byte(lines[len(lines)-2]), &rep); err != nil {
			l.r.T.Fatalf("report of the load: %v: %s", err, lines[len(lines)-2])
		}
	}
	return rep
}

// Progress waits until n more connections went well than now.
func (l *Load) Progress(n uint64) {
	l.r.T.Helper()
	want := l.Report().OK + n
	l.r.Until(30*time.Second, "the load makes progress", func() bool {
		rep := l.Report()
		if !l.Running() {
			l.r.T.Fatalf("the load ended: %+v", rep)
		}
		return rep.OK >= want
	})
}

// Stop ends the load and returns the complete report.
func (l *Load) Stop() Report {
	l.r.T.Helper()
	l.Signal(syscall.SIGTERM)
	if status := l.Wait(60 * time.Second); status != 0 {
		l.r.T.Fatalf("the load ended with status %d", status)
	}
	return l.Report()
}
