// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leno-mesh/leno/internal/agent"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/xds"
)

func newCheckCommand() *cobra.Command {
	var file string
	var o output
	c := &cobra.Command{
		Use: "check -c FILE", Short: "Check a bootstrap file: exit 0, or all problems at once", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return errors.New("no configuration: give an Envoy bootstrap file with -c FILE")
			}
			return check(c.OutOrStdout(), []agent.Scope{{Cgroup: "/", Path: file}}, o)
		},
	}
	c.Flags().StringVarP(&file, "config-path", "c", "", "Envoy bootstrap file, YAML or JSON")
	o.flag(c)
	return c
}

// check prints every problem of the files; the error is exit status 1 when one of them would stop `leno run`.
func check(w io.Writer, scopes []agent.Scope, o output) error {
	type report struct {
		File     string           `json:"file"`
		OK       bool             `json:"ok"`
		Problems []status.Problem `json:"problems"`
	}
	failed := false
	for _, s := range scopes {
		problems, err := load(s)
		if err != nil {
			return err
		}
		r := report{File: s.Path, OK: true, Problems: []status.Problem{}}
		for _, p := range problems {
			r.OK = r.OK && p.Severity == mesh.Skipped
			r.Problems = append(r.Problems, status.FromProblem("", p))
		}
		failed = failed || !r.OK
		err = o.print(w, r, func(w io.Writer) {
			printProblems(w, problems)
			if r.OK {
				fmt.Fprintf(w, "configuration '%s' OK\n", s.Path)
			}
		})
		if err != nil {
			return err
		}
	}
	if failed {
		return exitCode(1)
	}
	return nil
}

func load(s agent.Scope) ([]mesh.Problem, error) {
	_, scope, err := xds.Load(xds.Options{Path: s.Path, Cgroup: s.Cgroup, Log: slog.New(slog.DiscardHandler)})
	var invalid *xds.Invalid
	switch {
	case errors.As(err, &invalid):
		return invalid.Problems, nil
	case err != nil:
		return nil, err
	default:
		return scope.Problems, nil
	}
}

func printProblems(w io.Writer, problems []mesh.Problem) {
	for _, p := range problems {
		where := p.File
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", p.File, p.Line)
		}
		parts := []string{where, p.Severity.String()}
		for _, s := range []string{p.Resource, p.Field, p.Message} {
			if s != "" {
				parts = append(parts, s)
			}
		}
		fmt.Fprintln(w, strings.Join(parts, ": "))
	}
}

// cleanCgroup brings a cgroup path into the form that mesh.Scope has.
func cleanCgroup(p string) string { return path.Clean("/" + p) }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
