// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/leno-mesh/leno/test/oracle/generate"
)

var (
	genSeed     = flag.Uint64("generate.seed", 1, "what the generated configurations depend on")
	genFirst    = flag.Int("generate.first", 0, "number of the first generated configuration")
	genConfigs  = flag.Int("generate.configs", 40, "how many configurations to generate")
	genRequests = flag.Int("generate.requests", 100, "requests to each of them")
	genReport   = flag.String("generate.report", "", "write what was found to this file")
	genStop     = flag.Int("generate.stop", 5, "stop after that many configurations that were answered differently")
)

// generated is the bootstrap around what the generator makes: its clusters, and the listeners from a file.
const generated = `dynamic_resources: {lds_config: {path_config_source: {path: "{{dir}}/lds.yaml"}}}
static_resources:
  clusters:
  - {name: blue, connect_timeout: 5s, load_assignment: {cluster_name: blue, endpoints: [{lb_endpoints: [{{endpoint (upstream "blue")}}]}]}}
  - {name: green, connect_timeout: 5s, load_assignment: {cluster_name: green, endpoints: [{lb_endpoints: [{{endpoint (upstream "green")}}]}]}}
  - {name: red, connect_timeout: 5s, load_assignment: {cluster_name: red, endpoints: [{lb_endpoints: [{{endpoint (upstream "red")}}]}]}}
  - {name: dead, connect_timeout: 5s, load_assignment: {cluster_name: dead, endpoints: [{lb_endpoints: [{{endpoint (refused "dead")}}]}]}}
  - {name: none, connect_timeout: 5s, load_assignment: {cluster_name: none, endpoints: [{lb_endpoints: []}]}}
`

// side is one data plane that lives through all configurations.
type side struct {
	w       *world
	p       *process
	counted map[string]string // the statistics before the requests to the present configuration
}

func newSide(t *testing.T, name string, stop os.Signal, run func(*world) (*process, error)) *side {
	t.Helper()
	s := &scenario{name: name, archive: &txtar.Archive{Files: []txtar.File{{Name: "bootstrap.yaml", Data: []byte(generated)}}}}
	w := newWorld(s, t.TempDir())
	t.Cleanup(w.end)
	if err := s.write(w.dir, w); err != nil {
		t.Fatal(err)
	}
	d := &side{w: w}
	d.offer(t, `{"version_info": "0", "resources": []}`)
	var err error
	if d.p, err = run(w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.p.stop(stop) })
	if err := d.p.ready(); err != nil {
		t.Fatal(err)
	}
	return d
}

// bothSides starts Envoy and leno.
func bothSides(t *testing.T) (envoy, leno *side) {
	t.Helper()
	envoyPath, lenoPath := envoyBinary(t), lenoBinary(t)
	envoy = newSide(t, "envoy", syscall.SIGKILL, func(w *world) (*process, error) {
		return startEnvoy(envoyPath, w, "--drain-time-s", "1", "--parent-shutdown-time-s", "2")
	})
	pins, cgroup := privatePins(t), privateCgroup(t)
	leno = newSide(t, "leno", syscall.SIGINT, func(w *world) (*process, error) {
		return startLeno(lenoPath, w, lenoPlace{tier: "proxy", cgroup: cgroup, pins: pins})
	})
	return envoy, leno
}

// offer moves new listeners into place.
func (d *side) offer(t *testing.T, text string) {
	t.Helper()
	text, err := d.w.expand("lds.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(d.w.dir, "next.yaml")
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(d.w.dir, "lds.yaml")); err != nil {
		t.Fatal(err)
	}
}

// serves waits until the version is in force.
func (d *side) serves(version int) error {
	port, err := d.w.port("version")
	if err != nil {
		return err
	}
	want := fmt.Sprintf("version %d", version)
	var last string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		last, err = fetch(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil && last == want {
			return nil
		}
	}
	return fmt.Errorf("%s is not in force after 10 s: %q, %v\n%s", want, last, err, d.p.output())
}

// fetch asks on a connection of its own.
func fetch(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

func (d *side) play(text string) (string, error) {
	steps, err := parseSteps(text)
	if err != nil {
		return "", err
	}
	return (&player{w: d.w, dp: d.p}).play(steps)
}

// rest is the time that a request has left: an attempt after the first has a little less of it.
var rest = regexp.MustCompile(`(?m)^(> x-envoy-expected-rq-timeout-ms: |> grpc-timeout: )([0-9]+)(m?)$`)

func wholeSeconds(text string) string {
	return rest.ReplaceAllStringFunc(text, func(line string) string {
		m := rest.FindStringSubmatch(line)
		ms, _ := strconv.Atoi(m[2])
		return m[1] + strconv.Itoa((ms+999)/1000*1000) + m[3]
	})
}

var (
	answered = regexp.MustCompile(`(?m)^< [0-9]{3}$`)
	reached  = regexp.MustCompile(`(?m)^> [a-z]+ [A-Z]+ `)
)

// TestGenerated sends generated requests to generated configurations through Envoy and leno and compares. A failure prints how
// to see it again; its configuration stays in generated-NUMBER.json in the system's folder for temporary files.
func TestGenerated(t *testing.T) {
	if !full {
		t.Skip("Envoy is asked with -tags full")
	}
	allowed := loadDifferences(t)
	envoy, leno := bothSides(t)
	begun := time.Now()
	configs, requests, different := 0, 0, 0
	statuses, upstream := map[string]int{}, 0 // what Envoy answered: that requests meet routes
	for n := *genFirst; n < *genFirst+*genConfigs && different < *genStop; n++ {
		g := generate.New(*genSeed, uint64(n))
		listeners, steps := g.Listeners(n+1), g.Requests(*genRequests)
		answers, errs := [2]string{}, [2]error{}
		var wg sync.WaitGroup
		for i, d := range []*side{envoy, leno} {
			d.offer(t, listeners)
			wg.Go(func() {
				if errs[i] = d.serves(n + 1); errs[i] == nil {
					d.counted, errs[i] = d.p.stats()
				}
				if errs[i] == nil {
					answers[i], errs[i] = d.play(steps)
					if *showFlag {
						t.Log(d.p.output())
					}
				}
			})
		}
		wg.Wait()
		configs, requests = configs+1, requests+*genRequests
		for _, m := range answered.FindAllString(answers[0], -1) {
			statuses[m[2:]]++
		}
		upstream += len(reached.FindAllString(answers[0], -1))
		var found []string
		for i, name := range []string{"Envoy", "leno"} {
			if errs[i] != nil {
				found = append(found, fmt.Sprintf("%s: %v", name, errs[i]))
			}
		}
		if found == nil {
			parsed, err := parseSteps(steps)
			if err != nil {
				t.Fatal(err)
			}
			found = compare(parsed, parseRecording(wholeSeconds(allowed.apply("proxy", answers[0]))), parseRecording(wholeSeconds(allowed.apply("proxy", answers[1]))))
			for i, f := range found {
				found[i] = f + "\n" + stepText(parsed, f)
			}
		}
		if len(found) == 0 {
			var err error
			if found, err = compareCounters(envoy, leno); err != nil {
				t.Fatal(err)
			}
		}
		if len(found) > 0 {
			different++
			path := filepath.Join(os.TempDir(), fmt.Sprintf("generated-%d.json", n))
			os.WriteFile(path, []byte(listeners), 0o644)
			t.Errorf("configuration %d (%s), %d steps; again: go test -tags full ./test/oracle -run TestGenerated -generate.seed %d -generate.first %d -generate.configs 1\n%s",
				n, path, len(found), *genSeed, n, strings.Join(found[:min(2, len(found))], "\n"))
		}
	}
	t.Logf("%d requests to %d configurations in %v, %d configurations answered differently", requests, configs, time.Since(begun).Round(time.Second), different)
	t.Logf("%d requests reached an upstream; answers by status: %v", upstream, statuses)
	if configs >= 20 && (upstream < requests/8 || len(statuses) < 15) {
		t.Errorf("of %d requests %d reached an upstream, and there were %d statuses: the generator has lost its aim", requests, upstream, len(statuses))
	}
	if *genReport != "" {
		text := fmt.Sprintf(`{"seed": %d, "configurations": %d, "requests": %d, "seconds": %d, "differences": %d}`+"\n",
			*genSeed, configs, requests, int(time.Since(begun).Seconds()), different)
		if err := os.WriteFile(*genReport, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// uncompared are parts of the names of statistics that depend on time, on how connections are reused, or on how often a
// configuration was tried.
var uncompared = regexp.MustCompile(`cx_|_active|bytes|_time|_ms|pending|flow_control|open$|remaining|membership|update|config|health|version|lb_|assignment|rq_max|idle|warming|default\.|total_match`)

// compareCounters says which counters of requests grew differently, once they stand still.
func compareCounters(envoy, leno *side) (found []string, err error) {
	for range 10 {
		var now [2]map[string]string
		for i, d := range []*side{envoy, leno} {
			if now[i], err = d.p.stats(); err != nil {
				return nil, err
			}
		}
		found = nil
		for name := range now[1] {
			if !strings.HasPrefix(name, "http.web.") && !strings.HasPrefix(name, "cluster.") || uncompared.MatchString(name) {
				continue
			}
			if w, g := grown(envoy, now[0], name), grown(leno, now[1], name); w != g {
				found = append(found, fmt.Sprintf("%s grew by %d in Envoy and by %d in leno", name, w, g))
			}
		}
		if len(found) == 0 {
			return nil, nil
		}
		time.Sleep(50 * time.Millisecond) // between two looks of a poll that is bounded
	}
	slices.Sort(found)
	return found, nil
}

func grown(d *side, now map[string]string, name string) int {
	a, _ := strconv.Atoi(d.counted[name])
	b, _ := strconv.Atoi(now[name])
	return max(b-a, 0) // Envoy forgets what no configuration counts any more
}

// stepText is what the step that a difference names sent.
func stepText(steps []step, difference string) string {
	for _, st := range steps {
		if strings.HasPrefix(difference, fmt.Sprintf("step %q", st.label)) {
			return st.text
		}
	}
	return ""
}
