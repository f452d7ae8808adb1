// SPDX-License-Identifier: Apache-2.0

// Package leno has no code of its own: this test holds the rules of who may
// import what (docs/ARCHITECTURE.md).
package leno

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/leno-mesh/leno/"

// mayImport lists the project's packages that each room may import.
var mayImport = map[string][]string{
	"internal/kern":      {},
	"internal/mesh":      {},
	"internal/status":    {"internal/mesh"},
	"internal/policy":    {"internal/mesh"},
	"internal/xds":       {"internal/mesh"},
	"internal/telemetry": {"internal/mesh"},
	"internal/table":     {"internal/mesh", "internal/kern"},
	"internal/health":    {"internal/mesh", "internal/proxy/http1"},
	"internal/upstream":  {"internal/mesh", "internal/health"},
	"internal/dataplane": {"internal/table", "internal/kern", "internal/telemetry", "internal/mesh", "internal/upstream", "internal/status"},
	"internal/proxy": {"internal/mesh", "internal/policy", "internal/upstream", "internal/telemetry", "internal/proxy/http1",
		"internal/proxy/logfile"},
	"internal/proxy/http1":   {},
	"internal/proxy/logfile": {},
	"internal/admin":         {"internal/mesh", "internal/telemetry", "internal/table", "internal/status"},
	"internal/agent": {"internal/mesh", "internal/xds", "internal/table", "internal/upstream", "internal/telemetry",
		"internal/dataplane", "internal/proxy", "internal/admin", "internal/status"},
	"internal/demo": {},
	"cmd/leno": {"internal/agent", "internal/admin", "internal/dataplane", "internal/table", "internal/xds", "internal/mesh",
		"internal/upstream", "internal/status", "internal/demo", "internal/proxy"},
}

// onlyHere names foreign packages that a single room may use, with the reason.
var onlyHere = []struct {
	prefix string
	rooms  []string
	why    string
}{
	{"github.com/envoyproxy/go-control-plane", []string{"internal/xds"}, "only xds sees Envoy's protos; everybody else reads mesh"},
	{"github.com/cilium/ebpf", []string{"internal/kern", "internal/dataplane"}, "only dataplane talks to the kernel"},
	{"github.com/miekg/dns", []string{"internal/upstream"}, "names are resolved in one place"},
	{"github.com/spf13/cobra", []string{"cmd/leno"}, "flags are parsed in one place"},
}

type goPackage struct {
	ImportPath string
	Doc        string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// outside are folders whose packages serve tests and measurements; they may import what they like.
func outside(room string) bool {
	return strings.HasPrefix(room, "test/") || strings.HasPrefix(room, "bench") || room == ""
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, strings.TrimSuffix(module, "/")), "/")
		if outside(room) {
			continue
		}
		seen[room] = true
		if p.Doc == "" {
			t.Errorf("%s has no package comment: say what it is for and what it is not for", room)
		}
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s is not a known room: add it here and to docs/ARCHITECTURE.md", room)
			continue
		}
		for _, imp := range p.Imports {
			checkImport(t, room, imp, allowed)
		}
	}
	for room := range mayImport {
		if !seen[room] {
			t.Errorf("%s is listed here and does not exist", room)
		}
	}
}

func checkImport(t *testing.T, room, imp string, allowed []string) {
	t.Helper()
	if inner, ok := strings.CutPrefix(imp, module); ok {
		for _, a := range allowed {
			if inner == a {
				return
			}
		}
		t.Errorf("%s imports %s, which the rooms of the design forbid", room, inner)
		return
	}
	for _, o := range onlyHere {
		if !strings.HasPrefix(imp, o.prefix) {
			continue
		}
		ok := false
		for _, r := range o.rooms {
			ok = ok || r == room
		}
		if !ok {
			t.Errorf("%s imports %s: %s", room, imp, o.why)
		}
	}
}
