// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Invalid is a configuration that was not accepted. Nothing of it is in force.
type Invalid struct {
	Problems []mesh.Problem // in file order, skipped parts included
}

// Error is the number of problems and the first that stops the start.
func (e *Invalid) Error() string {
	var first string
	n := 0
	for _, p := range e.Problems {
		if p.Severity == mesh.Skipped {
			continue
		}
		if n++; n == 1 {
			first = fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Field, p.Message)
		}
	}
	if n == 1 {
		return first
	}
	return fmt.Sprintf("%s (and %d more problems)", first, n-1)
}

// finding is a problem inside one resource; where the resource stands in its file is added when it is shown,
// because a resource that did not change may have moved.
type finding struct {
	severity mesh.Severity
	path     string // below the resource
	msg      string
}

// findings collects what is wrong with one resource. Not safe for concurrent use.
type findings struct {
	list []finding
	seen map[finding]bool
	// units are the parts that can be made a tombstone by themselves.
	units []unit
}

// unit is a part of a resource that may be refused alone.
type unit struct {
	path string
	kill func(reason string)
}

func (f *findings) add(s mesh.Severity, path, format string, args ...any) {
	x := finding{s, path, fmt.Sprintf(format, args...)}
	if f.seen[x] {
		return
	}
	if f.seen == nil {
		f.seen = map[finding]bool{}
	}
	f.seen[x] = true
	f.list = append(f.list, x)
}

func (f *findings) invalid(path, format string, args ...any) {
	f.add(mesh.Rejected, path, format, args...)
}

func (f *findings) refused(path, format string, args ...any) {
	f.add(mesh.Refused, path, format, args...)
}

func (f *findings) skipped(path, format string, args ...any) {
	f.add(mesh.Skipped, path, format, args...)
}

// unit registers a part that is refused by itself when something below path is.
func (f *findings) unit(path string, kill func(reason string)) {
	f.units = append(f.units, unit{path, kill})
}

func (f *findings) has(s mesh.Severity) bool {
	for _, x := range f.list {
		if x.severity == s {
			return true
		}
	}
	return false
}

// hasBelow says whether a finding of that severity stands at path or below it.
func (f *findings) hasBelow(s mesh.Severity, path string) bool {
	for _, x := range f.list {
		if x.severity == s && below(x.path, path) {
			return true
		}
	}
	return false
}

// bury makes tombstones of the smallest units that hold a refused field.
func (f *findings) bury() {
	for _, x := range f.list {
		if x.severity != mesh.Refused {
			continue
		}
		best := -1
		for i, u := range f.units {
			if below(x.path, u.path) && (best < 0 || len(u.path) > len(f.units[best].path)) {
				best = i
			}
		}
		if best >= 0 {
			f.units[best].kill(x.path + ": " + x.msg)
		}
	}
}

// below says whether path is at or under base.
func below(path, base string) bool {
	if !strings.HasPrefix(path, base) {
		return false
	}
	rest := path[len(base):]
	return rest == "" || base == "" || rest[0] == '.' || rest[0] == '['
}

// place is where a resource stands.
type place struct {
	file     string
	path     string // full proto path of the resource in its file
	resource string // "listener web"
	node     *yaml.Node
}

// show turns findings into problems of one place, ordered by line.
func (f *findings) show(p place) []mesh.Problem {
	if f == nil {
		return nil
	}
	out := make([]mesh.Problem, 0, len(f.list))
	for _, x := range f.list {
		out = append(out, mesh.Problem{Severity: x.severity, File: p.file, Line: lineOf(p.node, x.path),
			Resource: p.resource, Field: join(p.path, x.path), Message: x.msg})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Line < out[j].Line })
	return out
}

// join puts two proto paths together.
func join(a, b string) string {
	if a == "" || b == "" || b[0] == '[' {
		return a + b
	}
	return a + "." + b
}

// at is one element of a repeated field.
func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// stops says whether problems keep a configuration from being taken at start.
func stops(ps []mesh.Problem) bool {
	for _, p := range ps {
		if p.Severity != mesh.Skipped {
			return true
		}
	}
	return false
}
