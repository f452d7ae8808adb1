// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"golang.org/x/tools/txtar"
)

// scenario is one file of the corpus.
type scenario struct {
	name    string
	path    string
	archive *txtar.Archive
	steps   []step
}

// step is one thing that clients do, and how.
type step struct {
	label    string
	options  map[string]string
	text     string // request, dialog or names of statistics
	line     int
	exchange     // options, read
	sent     int // bytes of the text, with cut
}

// exchange holds the options of a step that the client looks at; testdata/README.md explains them.
type exchange struct {
	to, address            string
	from, sport            string
	tcp, stats, raw        bool
	clusters               bool
	steady                 time.Duration
	checked                bool   // the health checks that came
	checksOf, checksSay    string // what this upstream answers health checks from now on
	keep, fresh, unowned   bool
	beside                 bool // runs while the next step does
	times, parallel        int
	answers                int
	random, countConns     bool
	countApart             bool
	apart                  int
	warm                   bool
	until                  string
	body, head             int
	wait                   time.Duration
	moveFrom, moveTo, zone string
	writeFrom, writeTo     string
	within                 time.Duration
	log                    string
	lines                  int
	post                   string
	cut                    string
}

// parts of an archive that are not files for the data plane.
const (
	requestsPart = "requests"
	envoyPart    = "envoy"
	// What leno answers instead, where docs/DIFFERENCES.md says that it differs.
	proxyPart = "leno-proxy"
	autoPart  = "leno-auto"
	dnsPart   = "dns" // also dns-NAME, for a step's dns=NAME
)

func loadCorpus(t *testing.T) []*scenario {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in testdata (%v)", err)
	}
	var all []*scenario
	for _, f := range files {
		s, err := loadScenario(f)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		all = append(all, s)
	}
	return all
}

func loadScenario(path string) (*scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &scenario{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), path: path, archive: txtar.Parse(data)}
	if !strings.HasPrefix(string(s.archive.Comment), "# ") {
		return nil, fmt.Errorf("does not begin with a comment that says what it shows")
	}
	if s.part("bootstrap.yaml") == "" {
		return nil, fmt.Errorf("has no part bootstrap.yaml")
	}
	s.steps, err = parseSteps(s.part(requestsPart))
	return s, err
}

func (s *scenario) part(name string) string {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// expected is what leno must answer: what Envoy does, unless the scenario shows a difference.
func (s *scenario) expected(part string) string {
	if own := s.part(part); own != "" {
		return own
	}
	return s.part(envoyPart)
}

// recorded says if a part is written by the test and not given to the data plane.
func recorded(part string) bool { return part == envoyPart || part == proxyPart || part == autoPart }

// record replaces one recorded part and writes the file.
func (s *scenario) record(part, answers string) error {
	files := s.archive.Files[:0:0]
	for _, f := range s.archive.Files {
		if f.Name != part {
			files = append(files, f)
		}
	}
	s.archive.Files = append(files, txtar.File{Name: part, Data: []byte(answers)})
	return os.WriteFile(s.path, txtar.Format(s.archive), 0o644)
}

func parseSteps(text string) ([]step, error) {
	var steps []step
	for i, line := range strings.Split(text, "\n") {
		head, ok := strings.CutPrefix(line, "== ")
		if !ok {
			if len(steps) > 0 {
				steps[len(steps)-1].text += line + "\n"
			} else if line != "" {
				return nil, fmt.Errorf("requests, line %d: text before the first \"== \"", i+1)
			}
			continue
		}
		st := step{line: i + 1, options: map[string]string{}}
		var options string
		st.label, options, _ = strings.Cut(head, ": ")
		for _, o := range strings.Fields(options) {
			k, v, _ := strings.Cut(o, "=")
			st.options[k] = v
		}
		if err := st.exchange.read(st.options); err != nil {
			return nil, fmt.Errorf("requests, line %d: %w", i+1, err)
		}
		steps = append(steps, st)
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("has no requests")
	}
	seen := map[string]bool{}
	for i := range steps {
		if !steps[i].raw {
			steps[i].text = strings.TrimRight(steps[i].text, "\n") + "\n"
		}
		if seen[steps[i].label] {
			return nil, fmt.Errorf("requests, line %d: a second step %q", steps[i].line, steps[i].label)
		}
		seen[steps[i].label] = true
	}
	return steps, nil
}

func (e *exchange) read(options map[string]string) error {
	*e = exchange{to: "web", address: "127.0.0.1", times: 1, answers: 1, lines: 1}
	for k, v := range options {
		var err error
		switch k {
		case "to":
			e.to = v
		case "address":
			e.address = v
		case "from":
			e.from = v
		case "sport":
			e.sport = v
		case "tcp":
			e.tcp = true
		case "stats":
			e.stats = true
		case "clusters":
			e.clusters = true
		case "checked":
			e.checked = true
		case "checks":
			e.checksOf, e.checksSay, _ = strings.Cut(v, ":")
		case "raw":
			e.raw = true
		case "keep":
			e.keep = true
		case "beside":
			e.beside = true
		case "fresh":
			e.fresh = true
		case "unowned":
			e.unowned = true
		case "random":
			e.random = true
		case "warm":
			e.warm = true
		case "connections":
			e.countConns = true
		case "apart":
			e.countApart = true
			e.apart, err = strconv.Atoi(v)
		case "until":
			e.until = v
		case "times":
			e.times, err = strconv.Atoi(v)
		case "answers":
			e.answers, err = strconv.Atoi(v)
		case "parallel":
			e.parallel, err = strconv.Atoi(v)
		case "body":
			e.body, err = parseSize(v)
		case "head":
			e.head, err = parseSize(v)
		case "wait":
			e.wait, err = time.ParseDuration(v)
		case "move":
			e.moveFrom, e.moveTo, _ = strings.Cut(v, ":")
		case "write":
			e.writeFrom, e.writeTo, _ = strings.Cut(v, ":")
		case "cut":
			if e.cut = v; v != "shut" && v != "reset" {
				err = fmt.Errorf("must be shut or reset")
			}
		case "steady":
			e.steady, err = time.ParseDuration(v)
		case "within":
			e.within, err = time.ParseDuration(v)
		case "dns":
			e.zone = v
		case "post":
			e.post = v
		case "log":
			e.log = v
		case "lines":
			e.lines, err = strconv.Atoi(v)
		default:
			err = fmt.Errorf("unknown")
		}
		if err != nil {
			return fmt.Errorf("option %s=%s: %w", k, v, err)
		}
	}
	return nil
}

// write expands the placeholders in all files of the scenario and puts them into dir.
func (s *scenario) write(dir string, w *world) error {
	for _, f := range s.archive.Files {
		if f.Name == requestsPart || recorded(f.Name) || strings.HasPrefix(f.Name, dnsPart) {
			continue
		}
		text, err := w.expand(f.Name, string(f.Data))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// expand runs one text through the placeholders of testdata/README.md.
func (w *world) expand(name, text string) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{
		"dir":        func() string { return w.dir },
		"port":       w.port,
		"upstream":   w.upstreamPort,
		"tcp":        w.tcpPort,
		"greeter":    w.greeterPort,
		"proxied":    w.proxiedPort,
		"proxiedtcp": w.proxiedTCPPort,
		"tls":        w.tlsPort,
		"refused":    w.refusedPort,
		"silent":     w.silentPort,
		"dns":        w.dnsPort,
		"address":    socketAddress,
		"endpoint":   func(port int) string { return "{endpoint: {address: " + socketAddress(port) + "}}" },
		"hcm":        func() string { return hcmType },
		"router":     func() string { return routerFilter },
		"tcpproxy":   func() string { return tcpProxyType },
		"why":        func() string { return whyLog(w.dir) },
	}).Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, nil); err != nil {
		return "", err
	}
	return b.String(), nil
}

const (
	hcmType      = `"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`
	tcpProxyType = `"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`
	routerFilter = `{name: envoy.filters.http.router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}`
)

// whyLog is an access log that says why each request was answered as it was.
func whyLog(dir string) string {
	return fmt.Sprintf(`access_log: [{name: why, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, `+
		`path: %q, log_format: {text_format_source: {inline_string: "%s\n"}}}}]`, filepath.Join(dir, "why.log"),
		"%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT% to %UPSTREAM_CLUSTER% %UPSTREAM_HOST%")
}

func socketAddress(port int) string {
	return fmt.Sprintf("{socket_address: {address: 127.0.0.1, port_value: %d}}", port)
}
