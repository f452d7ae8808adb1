// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// envoyVersion is what test/install.sh envoy installs and what the corpus was recorded with.
const envoyVersion = "1.40.0"

var (
	recordFlag = flag.Bool("record", false, "ask Envoy and rewrite the recorded answers")
	envoyFlag  = flag.String("envoy", "/var/cache/leno-test/envoy-"+envoyVersion+"/envoy", "the Envoy binary")
	lenoFlag   = flag.String("leno", "", "a leno binary to test instead of one built from this tree")
	showFlag   = flag.Bool("show", false, "print what leno answered")
)

const lenoHeader = "# What leno answers instead (docs/DIFFERENCES.md); recorded, do not edit.\n"

func recordHeader() string {
	return "# Envoy " + envoyVersion + ", recorded by go test ./test/oracle -record; do not edit.\n"
}

// envoyBinary installs Envoy if it is missing.
func envoyBinary(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(*envoyFlag); err == nil {
		return *envoyFlag
	}
	cmd := exec.Command("../install.sh", "envoy")
	cmd.Env = append(os.Environ(), "LENO_TEST_CACHE="+filepath.Dir(filepath.Dir(*envoyFlag)))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("test/install.sh envoy: %v\n%s", err, out)
	}
	return *envoyFlag
}

// TestEnvoy asks Envoy again and compares with the recorded answers, or rewrites them. Who is examined is the recording: a
// busy machine may delay Envoy past a timer, so an answer that differs is asked for once more. leno gets no second try.
func TestEnvoy(t *testing.T) {
	if !full && !*recordFlag {
		t.Skip("Envoy is asked with -tags full, and with -record")
	}
	binary := envoyBinary(t)
	for _, s := range loadCorpus(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			ask := func() string {
				return playWith(t, s, syscall.SIGKILL, func(w *world) (*process, error) { return startEnvoy(binary, w) })
			}
			got := ask()
			if *recordFlag {
				if err := s.record(envoyPart, recordHeader()+got); err != nil {
					t.Fatal(err)
				}
				return
			}
			want := parseRecording(s.part(envoyPart))
			if once := compare(s.steps, want, parseRecording(got)); len(once) > 0 {
				t.Logf("asked once more, since Envoy first answered otherwise: %s", once)
				got = ask()
			}
			report(t, s, want, parseRecording(got))
		})
	}
}

// TestLenoProxy compares leno's user-space tier with what Envoy answered.
func TestLenoProxy(t *testing.T) {
	binary := lenoBinary(t)
	allowed := loadDifferences(t)
	for _, s := range loadCorpus(t) {
		if *recordFlag && s.part(proxyPart) == "" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			pins := privatePins(t)
			cgroup := privateCgroup(t)
			got := playWith(t, s, syscall.SIGINT, func(w *world) (*process, error) {
				return startLeno(binary, w, lenoPlace{tier: "proxy", cgroup: cgroup, pins: pins})
			})
			if *showFlag {
				t.Log(got)
			}
			if *recordFlag {
				if err := s.record(proxyPart, lenoHeader+got); err != nil {
					t.Fatal(err)
				}
				return
			}
			want := parseRecording(allowed.apply("proxy", s.expected(proxyPart)))
			report(t, s, want, parseRecording(allowed.apply("proxy", got)))
		})
	}
}

// playWith runs one scenario against a data plane and returns the answers.
func playWith(t *testing.T, s *scenario, stop os.Signal, run func(*world) (*process, error)) string {
	t.Helper()
	w := newWorld(s, t.TempDir())
	defer w.end()
	if err := s.write(w.dir, w); err != nil {
		t.Fatal(err)
	}
	p, err := run(w)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.stop(stop); err != nil {
			t.Errorf("%v\n%s", err, p.output())
		}
	}()
	if err := p.ready(); err != nil {
		t.Fatal(err)
	}
	got, err := (&player{w: w, dp: p}).play(s.steps)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.output())
	}
	return got
}

func report(t *testing.T, s *scenario, want, got recording) {
	t.Helper()
	for _, d := range compare(s.steps, want, got) {
		t.Error(d)
	}
}

// lenoBinary builds leno once per test run.
func lenoBinary(t *testing.T) string {
	t.Helper()
	if *lenoFlag != "" {
		return *lenoFlag
	}
	binary := filepath.Join(t.TempDir(), "leno")
	cmd := exec.Command("go", "build", "-o", binary, "../../cmd/leno")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build ../../cmd/leno: %v\n%s", err, out)
	}
	return binary
}

// cgroupMount is where cgroup2 is mounted, alone or in hybrid mode.
func cgroupMount(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(dir + "/cgroup.controllers"); err == nil {
			return dir
		}
	}
	t.Fatal("no cgroup2 mount at /sys/fs/cgroup or /sys/fs/cgroup/unified")
	return ""
}

// privateCgroup makes a managed cgroup that nothing else runs in; the name is below the cgroup2 mount.
func privateCgroup(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return "/"
	}
	name := fmt.Sprintf("/leno-oracle-%d-%s", os.Getpid(), fileName(t))
	dir := cgroupMount(t) + name
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	return name
}

// privatePins names a pin directory of the test's own.
func privatePins(t *testing.T) string {
	t.Helper()
	dir := fmt.Sprintf("/sys/fs/bpf/leno-oracle-%d-%s", os.Getpid(), fileName(t))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func fileName(t *testing.T) string {
	return strings.NewReplacer("/", "-", ".", "-", "_", "-").Replace(t.Name())
}

// TestMain lets more scenarios run at once than there are processors: most of their time is waiting.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}
