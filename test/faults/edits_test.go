// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// takesEffect waits until the cluster's endpoint is the one with this port, and proves by traffic that it serves.
func takesEffect(r *rig.Rig, a *rig.Agent, port int) {
	r.T.Helper()
	row := fmt.Sprintf("echo::127.0.0.1:%d::", port)
	r.Until(10*time.Second, fmt.Sprintf("the endpoint of port %d is in force", port), func() bool {
		return strings.Contains(a.MustGet("/clusters"), row)
	})
	served := func() string {
		for _, line := range strings.Split(a.MustGet("/clusters"), "\n") {
			if strings.HasPrefix(line, row+"cx_total::") {
				return line
			}
		}
		return ""
	}
	before := served()
	r.Until(10*time.Second, fmt.Sprintf("the endpoint of port %d gets connections", port), func() bool { return served() != before })
}

// Endpoints move between two servers under load: no connection fails, each edit takes effect, nothing leaks.
func TestEditsUnderLoad(t *testing.T) {
	inBothTiers(t, func(t *testing.T, tier string) {
		r := rig.New(t)
		peer.StartEcho(r, "127.0.0.1:7001")
		peer.StartEcho(r, "127.0.0.1:7002")
		a := r.Agent(r.Watched(echoService(7001)), "--tier="+tier)
		clean(t, peer.StartLoad(r, target, 8).Stop())
		idle(r, a)
		size, files := entries(r), descriptors(r, a)
		load := peer.StartLoad(r, target, 8)
		for i := range 2 * rounds {
			port := 7001 + (i+1)%2
			r.Publish(echoService(port))
			takesEffect(r, a, port)
			load.Progress(10)
		}
		// A burst of edits, most of which nobody will ever see.
		for i := range 100 {
			r.Publish(echoService(7001+i%2), rig.TCPService{Name: fmt.Sprint("other", i), Address: "10.99.0.9:80"})
		}
		r.Publish(echoService(7001))
		r.Until(10*time.Second, "the last edit is in force", func() bool {
			text := a.MustGet("/clusters")
			return strings.Contains(text, "echo::127.0.0.1:7001::") && !strings.Contains(text, "other")
		})
		load.Progress(20)
		clean(t, load.Stop())
		carried(t, idle(r, a), tier)
		size["flows"]++ // one row keeps what the endpoints that went had counted
		returnsTo(r, size)
		sameDescriptors(r, a, files)
	})
}

// broken waits until the agent names a problem of a file everywhere where it must; mended until it is gone from there.
func broken(r *rig.Rig, a *rig.Agent, file string) {
	r.T.Helper()
	r.Until(20*time.Second, "the status names "+file, func() bool {
		st := a.Status()
		return len(st.Problems) > 0 && st.Problems[0].File == file && st.Problems[0].Message != ""
	})
	message := a.Status().Problems[0].Message
	if n := a.Stats()["leno.config_problems.rejected"]; n == 0 {
		r.T.Errorf("%s is bad and leno.config_problems.rejected is 0", file)
	}
	if out := r.Run(10*time.Second, r.Command("status")); !strings.Contains(out, message) {
		r.T.Errorf("leno status does not say %q:\n%s", message, out)
	}
	logged := false
	for _, line := range strings.Split(a.Output(), "\n") {
		logged = logged || strings.Contains(line, "level=WARN") && strings.Contains(line, "file="+file)
	}
	if !logged {
		r.T.Errorf("the log does not name %s", file)
	}
}

func mended(r *rig.Rig, a *rig.Agent) {
	r.T.Helper()
	r.Until(10*time.Second, "the good edit clears the problem", func() bool { return len(a.Status().Problems) == 0 })
	if n := a.Stats()["leno.config_problems.rejected"]; n != 0 {
		r.T.Errorf("leno.config_problems.rejected is %d after a good edit", n)
	}
}

// Bad edits leave the last good configuration in force and are named; a good one clears them.
func TestBadEdits(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	peer.StartEcho(r, "127.0.0.1:7002")
	a := r.Agent(r.Watched(echoService(7001)))
	cds := filepath.Join(r.Dir, "cds.yaml")
	good := read(t, cds)
	load := peer.StartLoad(r, target, 4)
	replace := func(text string) func() { return func() { r.Write("cds.yaml", text) } }
	bad := []struct {
		name string
		edit func()
	}{
		{"not YAML", replace("resources: [")},
		{"half written", replace(good[:len(good)-12])},
		{"half written in place", func() { overwrite(t, cds, good[:len(good)/2]) }},
		{"invalid UTF-8", replace(strings.Replace(good, "lb_policy", "\xfe\xff", 1))},
		{"empty", replace("")},
		{"zeros", replace(strings.Repeat("\x00", 4096))}, // what some file systems show after a crash
		{"invalid value", replace(strings.Replace(good, "ROUND_ROBIN", "NO_SUCH_POLICY", 1))},
		{"50 MB", replace(good + "# " + strings.Repeat("x", 50<<20) + "\n  ]")},
		{"50 MB of bad resources", replace(good + strings.Repeat("- {} # "+strings.Repeat("x", 43)+"\n", 1<<20))},
		{"deleted", func() { must(t, os.Remove(cds)) }},
		{"a directory", func() { must(t, os.Remove(cds)); must(t, os.Mkdir(cds, 0o755)) }},
		{"a dangling symlink", func() { swap(t, filepath.Join(r.Dir, "absent.yaml"), cds) }},
		{"a symlink to itself", func() { swap(t, "cds.yaml", cds) }},
		{"a symlink to a bad file", func() { swap(t, r.Write("other.yaml", "resources: ["), cds) }},
	}
	port := 7001
	for _, b := range bad {
		t.Log(b.name)
		b.edit()
		broken(r, a, cds)
		load.Progress(20)
		port = 7001 + 7002 - port
		if st, err := os.Lstat(cds); err == nil && st.IsDir() {
			must(t, os.Remove(cds)) // a rename cannot replace it
		}
		r.Publish(echoService(port))
		takesEffect(r, a, port)
		mended(r, a)
	}
	clean(t, load.Stop())
}

// A writer that takes its time: nothing is read before it has closed the file.
func TestSlowWriter(t *testing.T) {
	r := rig.New(t)
	peer.StartEcho(r, "127.0.0.1:7001")
	peer.StartEcho(r, "127.0.0.1:7002")
	a := r.Agent(r.Watched(echoService(7001)))
	cds := filepath.Join(r.Dir, "cds.yaml")
	load := peer.StartLoad(r, target, 4)
	text := strings.ReplaceAll(read(t, cds), "7001", "7002")
	f, err := os.Create(cds) // truncates
	must(t, err)
	for _, part := range []string{text[:20], text[20 : len(text)/2], text[len(text)/2:]} {
		_, err := f.WriteString(part)
		must(t, err)
		load.Progress(50)
		if p := a.Status().Problems; len(p) > 0 {
			t.Errorf("read before it was complete: %+v", p)
		}
	}
	must(t, f.Close())
	takesEffect(r, a, 7002)
	clean(t, load.Stop())
}

// Files that are symlinks: the link is swapped, or, as Kubernetes does it, a link to the folder in which they lie.
func TestSymlinkSwaps(t *testing.T) {
	for _, layout := range []string{"file", "folder"} {
		t.Run(layout, func(t *testing.T) {
			r := rig.New(t)
			peer.StartEcho(r, "127.0.0.1:7001")
			peer.StartEcho(r, "127.0.0.1:7002")
			// Versions 0 to 2 lie beside each other: two good ones, and a bad one.
			bootstrap := r.Watched(echoService(7001))
			for i, text := range []string{read(t, filepath.Join(r.Dir, "cds.yaml")),
				strings.ReplaceAll(read(t, filepath.Join(r.Dir, "cds.yaml")), "7001", "7002"), "resources: ["} {
				r.Write(fmt.Sprintf("v%d/cds.yaml", i), text)
			}
			live := filepath.Join(r.Dir, "live", "cds.yaml")
			must(t, os.Mkdir(filepath.Dir(live), 0o755))
			show := func(version int) { swap(t, fmt.Sprintf("../v%d/cds.yaml", version), live) }
			watched := ""
			if layout == "folder" {
				show = func(version int) { swap(t, fmt.Sprintf("../v%d", version), filepath.Join(r.Dir, "live", "..data")) }
				must(t, os.Symlink("..data/cds.yaml", live))
				watched = fmt.Sprintf(", watched_directory: {path: %q}", filepath.Dir(live))
			}
			show(0)
			text := strings.Replace(read(t, bootstrap), fmt.Sprintf("{path: %q}", filepath.Join(r.Dir, "cds.yaml")),
				fmt.Sprintf("{path: %q%s}", live, watched), 1)
			a := r.Agent(r.Write("bootstrap.yaml", text))
			load := peer.StartLoad(r, target, 4)
			for i := range 2 * rounds {
				show((i + 1) % 2)
				takesEffect(r, a, 7001+(i+1)%2)
				show(2)
				broken(r, a, live)
				load.Progress(10)
			}
			show(0)
			takesEffect(r, a, 7001)
			mended(r, a)
			clean(t, load.Stop())
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

// overwrite writes a file in place, as an editor without rename does.
func overwrite(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// swap makes link a symlink to name, in one step.
func swap(t *testing.T, name, link string) {
	t.Helper()
	must(t, os.Symlink(name, link+".new"))
	must(t, os.Rename(link+".new", link))
}
