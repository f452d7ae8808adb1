// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/leno-mesh/leno/internal/mesh"
)

var envoyBinary = flag.String("envoy", "", "an Envoy 1.40 binary: ask it about every case and, with -update, write down its answer")

// The archives of testdata/check hold cases of one kind: "base" is a bootstrap with the line @@, which stands for the
// case; "CASE > leno" is what Load says of it and "CASE > envoy" what `envoy --mode validate` said.
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { checkArchive(t, file) })
	}
}

func checkArchive(t *testing.T, file string) {
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, f := range ar.Files {
		have[f.Name] = string(f.Data)
	}
	out := &txtar.Archive{Comment: ar.Comment}
	for _, f := range ar.Files {
		if strings.Contains(f.Name, " > ") {
			continue
		}
		out.Files = append(out.Files, f)
		if f.Name == "base" {
			continue
		}
		if strings.HasPrefix(f.Name, "file ") {
			continue
		}
		path := writeCase(t, have, f.Name)
		leno, accepted, rejected := verdict(path)
		envoy := have[f.Name+" > envoy"]
		if *envoyBinary != "" {
			envoy = askEnvoy(t, path)
		}
		if ok := envoy == "OK\n"; (ok && rejected || !ok && accepted) && !differs(have, f.Name) {
			t.Errorf("%s: Envoy says %sleno says %s", f.Name, envoy, leno)
		}
		if want := have[f.Name+" > leno"]; want != leno && !*update {
			t.Errorf("%s: got\n%swant\n%s", f.Name, leno, want)
		}
		out.Files = append(out.Files, txtar.File{Name: f.Name + " > leno", Data: []byte(leno)},
			txtar.File{Name: f.Name + " > envoy", Data: []byte(envoy)})
		if why, ok := have[f.Name+" > differs"]; ok {
			out.Files = append(out.Files, txtar.File{Name: f.Name + " > differs", Data: []byte(why)})
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// writeCase writes a case and the files that it may name as @DIR@/NAME.
func writeCase(t *testing.T, have map[string]string, name string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(file, text string) {
		text = strings.ReplaceAll(text, "@DIR@", dir)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n, text := range have {
		if file, ok := strings.CutPrefix(n, "file "); ok {
			write(file, text)
		}
	}
	write("case.yaml", insert(have["base"], have[name]))
	return filepath.Join(dir, "case.yaml")
}

// differs says whether a case is marked as one that leno judges otherwise, with the reason.
func differs(have map[string]string, name string) bool { return have[name+" > differs"] != "" }

// insert puts a case in place of @@, with its indentation.
func insert(base, text string) string {
	i := strings.Index(base, "@@")
	if i < 0 {
		return base
	}
	indent := i - strings.LastIndexByte(base[:i], '\n') - 1
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return base[:i] + strings.Join(lines, "\n"+strings.Repeat(" ", indent)) + base[i+2:]
}

// verdict is what Load says of a file, with the values of an accepted one in JSON.
func verdict(path string) (text string, accepted, rejected bool) {
	_, scope, err := Load(Options{Path: path, Cgroup: "/"})
	var b strings.Builder
	var invalid *Invalid
	switch {
	case errors.As(err, &invalid):
		for _, p := range invalid.Problems {
			rejected = rejected || p.Severity == mesh.Rejected
			fmt.Fprintf(&b, "%s line %d %s: %s: %s\n", p.Severity, p.Line, p.Resource, p.Field, p.Message)
		}
	case err != nil:
		fmt.Fprintf(&b, "error %v\n", err)
	default:
		for _, p := range scope.Problems {
			fmt.Fprintf(&b, "%s line %d %s: %s: %s\n", p.Severity, p.Line, p.Resource, p.Field, p.Message)
		}
		b.WriteString(dump(scope))
	}
	return strings.ReplaceAll(b.String(), filepath.Dir(path)+"/", ""), err == nil, rejected
}

// dump is a scope in short: what is at its zero value is left out.
func dump(s *mesh.Scope) string {
	c := *s
	c.Problems, c.Source = nil, ""
	raw, err := json.Marshal(&c)
	if err != nil {
		return err.Error()
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err.Error()
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(prune(v)); err != nil {
		return err.Error()
	}
	return b.String()
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			switch x = prune(x); x {
			case nil, "", false, 0.0:
			default:
				if m, ok := x.(map[string]any); !ok || len(m) > 0 {
					out[k] = x
				}
			}
		}
		return out
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
		return &v // pointers compare where slices cannot
	}
	return v
}

func askEnvoy(t *testing.T, path string) string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, *envoyBinary, "--mode", "validate", "-c", path, "-l", "critical", "--concurrency", "1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "OK\n"
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	text := lines[len(lines)-1]
	for _, l := range lines {
		if strings.Contains(l, "error initializing configuration") {
			text = l[strings.Index(l, "error initializing"):]
		}
	}
	text = strings.ReplaceAll(text, filepath.Dir(path)+"/", "")
	if len(text) > 300 {
		text = text[:300] + "..."
	}
	return text + "\n"
}
