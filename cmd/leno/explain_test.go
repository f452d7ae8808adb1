// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what is said into testdata")

func TestExplain(t *testing.T) {
	const path = "testdata/explain.txtar"
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, f := range ar.Files {
		have[f.Name] = string(f.Data)
	}
	file := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := os.WriteFile(file, []byte(have["bootstrap.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: ar.Comment}
	for _, f := range ar.Files {
		if strings.HasSuffix(f.Name, " > out") {
			continue
		}
		out.Files = append(out.Files, f)
		if f.Name == "bootstrap.yaml" {
			continue
		}
		args := []string{"-c", file}
		if text := strings.TrimSuffix(string(f.Data), "\n"); text != "" {
			args = append(args, strings.Split(text, "|")...)
		}
		got := said(args)
		if want := have[f.Name+" > out"]; got != want && !*update {
			t.Errorf("%s: got\n%swant\n%s", f.Name, got, want)
		}
		out.Files = append(out.Files, txtar.File{Name: f.Name + " > out", Data: []byte(got)})
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// said is what the command prints, and its error.
func said(args []string) string {
	var b bytes.Buffer
	c := newExplainCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	c.SetOut(&b)
	if err := c.Execute(); err != nil {
		b.WriteString("error: " + err.Error() + "\n")
	}
	return b.String()
}
