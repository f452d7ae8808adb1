// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// flushInterval is how often a data plane under test writes its access logs, in milliseconds.
const flushInterval = "50"

// logPath implements dataPlane: a file in the scenario's folder, or what the process prints.
func (p *process) logPath(name string) string {
	if name == "output" {
		return p.log
	}
	return filepath.Join(filepath.Dir(p.log), name)
}

// accessLog reads what a log has got since the last such step: at least the wanted number of lines.
func (p *player) accessLog(st step) (string, error) {
	p.drop()
	path := p.dp.logPath(st.log)
	fresh := func() ([]string, int, error) {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, err
		}
		if len(data) < p.logs[path] {
			p.logs[path] = 0 // another file lies there now
		}
		text := string(data[p.logs[path]:])
		text = text[:strings.LastIndexByte(text, '\n')+1]
		var lines []string
		for _, l := range strings.SplitAfter(text, "\n") {
			if l != "" && (st.log != "output" || strings.HasPrefix(l, "log ")) {
				lines = append(lines, l)
			}
		}
		return lines, p.logs[path] + len(text), nil
	}
	lines, read, err := fresh()
	for end := time.Now().Add(10 * time.Second); err == nil && len(lines) < st.lines && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // between two looks of a poll with a deadline
		lines, read, err = fresh()
	}
	if err != nil {
		return "", err
	}
	time.Sleep(70 * time.Millisecond) // longer than flushInterval: a line too many would be there by now, on a machine that is not loaded
	if lines, read, err = fresh(); err != nil {
		return "", err
	}
	p.logs[path] = read
	if len(lines) == 0 {
		return "(nothing)\n", nil
	}
	text := p.w.hidePorts(strings.Join(lines, ""))
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	text = strings.ReplaceAll(text, "hostname="+name, "hostname=(hostname)")
	for _, r := range logShapes {
		text = r.from.ReplaceAllString(text, r.to)
	}
	lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.Sort(lines) // of different connections: which one comes first is chance
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s\n", plain(l))
	}
	return b.String(), nil
}

// logShapes replace what changes from run to run.
var logShapes = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "(uuid)"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "(time)"},
	// Envoy's default format: bytes, then how long it all took and how long the upstream did.
	{regexp.MustCompile(`(?m)^(\[\(time\)\] ".*" \d+ \S+ \d+ \d+) \d+ \d+ "`), `$1 (ms) (ms) "`},
	{regexp.MustCompile(`(?m)^(\[\(time\)\] ".*" \d+ \S+ \d+ \d+) \d+ - "`), `$1 (ms) - "`},
	{regexp.MustCompile(`\b((?:ms|us|ns|at)(?:_[a-z_]*)?"?[=:]"?)\d+`), "$1(n)"},
	{regexp.MustCompile(`\b(id(?:_[a-z_]*)?"?[=:]"?)[1-9]\d*`), "$1(n)"},
	{regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+:)[1-9]\d{3,4}\b`), "$1(port)"},
	{regexp.MustCompile(`\b(port(?:_[a-z_]*)?"?[=:]"?)[1-9]\d{3,4}\b`), "$1(port)"},
}
