// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// FuzzDecode gives the decoder whatever there is. It must not fall over, say where each problem is, and say the same twice.
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("../../examples/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	archives, _ := filepath.Glob("testdata/check/*.txtar")
	for _, file := range archives {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range a.Files {
			f.Add(part.Data)
		}
	}
	path := filepath.Join(f.TempDir(), "bootstrap.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		load := func() string {
			_, scope, err := Load(Options{Path: path, Cgroup: "/"})
			var invalid *Invalid
			switch {
			case errors.As(err, &invalid):
				for _, p := range invalid.Problems {
					if p.Message == "" || p.File == "" {
						t.Fatalf("%q: a problem that says nothing: %+v", text, p)
					}
				}
				return err.Error()
			case err != nil:
				return err.Error()
			}
			return dump(scope)
		}
		if first, second := load(), load(); first != second {
			t.Fatalf("%q: first\n%s\nthen\n%s", text, first, second)
		}
	})
}
