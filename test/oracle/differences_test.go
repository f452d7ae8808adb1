// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// differencesFile is the closed list of what may differ from Envoy.
const differencesFile = "../../docs/DIFFERENCES.md"

// rule is one row of the table "What the comparison lets pass".
type rule struct {
	tiers string // "proxy", "socket" or "all"
	kind  string // "response header", "request header" or "end"
	what  string // header name; for end: "(wanted) -> (got)"
}

type rules []rule

// loadDifferences reads the rows | tier | kind | what | why | proof | of the document.
func loadDifferences(t *testing.T) rules {
	t.Helper()
	var all rules
	for _, row := range tableRows(t, "## What the comparison lets pass") {
		if len(row) != 5 {
			t.Fatalf("%s: row %q has %d columns, want 5", differencesFile, row, len(row))
		}
		r := rule{row[0], row[1], strings.Trim(row[2], "`")}
		if !slices.Contains([]string{"proxy", "socket", "all"}, r.tiers) ||
			!slices.Contains([]string{"response header", "request header", "end"}, r.kind) {
			t.Fatalf("%s: row %q: tier must be proxy, socket or all, kind response header, request header or end", differencesFile, row)
		}
		all = append(all, r)
	}
	return all
}

// tableRows returns the cells of the first table below a heading, without its two head rows.
func tableRows(t *testing.T, heading string) [][]string {
	t.Helper()
	data, err := os.ReadFile(differencesFile)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", differencesFile, heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var rows [][]string
	for _, line := range strings.Split(rest, "\n") {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var cells []string
		for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(c))
		}
		rows = append(rows, cells)
	}
	if len(rows) < 2 {
		t.Fatalf("%s: no table below %q", differencesFile, heading)
	}
	return rows[2:]
}

// apply takes out of a recording what may differ on that tier, so that what is left must be equal.
func (rs rules) apply(tier, recording string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(recording, "\n") {
		if line = rs.line(tier, line); line != "" {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (rs rules) line(tier, line string) string {
	for _, r := range rs {
		if r.tiers != "all" && r.tiers != tier {
			continue
		}
		switch r.kind {
		case "response header":
			if strings.HasPrefix(line, "< "+r.what+":") {
				return ""
			}
		case "request header":
			if strings.HasPrefix(line, "> "+r.what+":") {
				return ""
			}
		case "end":
			wanted, got, _ := strings.Cut(r.what, " -> ")
			if line == "< "+got+"\n" {
				return "< " + wanted + "\n"
			}
		}
	}
	return line
}

// TestDifferencesAreProven checks that each line of the document names a test or a scenario that exists.
func TestDifferencesAreProven(t *testing.T) {
	tests := goTests(t)
	code := regexp.MustCompile("`([^`]+)`")
	for _, heading := range []string{"## What the comparison lets pass", "## Other differences"} {
		for _, row := range tableRows(t, heading) {
			names := code.FindAllStringSubmatch(row[len(row)-1], -1)
			if len(names) == 0 {
				t.Errorf("%s: row %q names no test in its last column", differencesFile, row)
			}
			for _, n := range names {
				if strings.HasSuffix(n[1], ".txtar") {
					if _, err := os.Stat(filepath.Join("testdata", n[1])); err != nil {
						t.Errorf("%s: %v", differencesFile, err)
					}
				} else if !tests[n[1]] {
					t.Errorf("%s: there is no test %s", differencesFile, n[1])
				}
			}
		}
	}
}

// TestDifferencesDiffer checks that a scenario with answers of leno's own really differs from Envoy, and is in the document.
func TestDifferencesDiffer(t *testing.T) {
	data, err := os.ReadFile(differencesFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range loadCorpus(t) {
		for _, part := range []string{proxyPart, autoPart} {
			own := s.part(part)
			if own == "" {
				continue
			}
			if !strings.Contains(string(data), "`"+s.name+".txtar`") {
				t.Errorf("%s shows a difference that %s does not name", s.path, differencesFile)
			}
			if len(compare(s.steps, parseRecording(s.part(envoyPart)), parseRecording(own))) == 0 {
				t.Errorf("%s: part %s is what Envoy answers: remove it, and the line in %s", s.path, part, differencesFile)
			}
		}
	}
}

// goTests lists the test functions of the whole tree as "folder.TestName" and "TestName".
func goTests(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("grep", "-rnoE", "--include=*_test.go", `^func (Test|Fuzz)[A-Za-z0-9_]*`, "../..").Output()
	if err != nil {
		t.Fatalf("grep: %v", err)
	}
	all := map[string]bool{}
	for _, line := range strings.Split(string(out), "\n") {
		_, name, ok := strings.Cut(line, "func ")
		if !ok {
			continue
		}
		path, _, _ := strings.Cut(line, ":")
		rel, err := filepath.Rel("../..", filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		all[name], all[rel+"."+name] = true, true
	}
	return all
}
