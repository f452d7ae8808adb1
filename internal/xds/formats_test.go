// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
)

// TestFormatsDoc holds docs/formats.md to the table of command operators.
func TestFormatsDoc(t *testing.T) {
	const file = "../../docs/formats.md"
	want := formatsDoc()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table says; run go generate ./internal/xds", file)
	}
}

func formatsDoc() string {
	var known, absent, other []string
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		switch spec := commands[name]; {
		case spec.unsupported:
			other = append(other, "`"+name+"`")
		case spec.part.Command == mesh.CommandAbsent && name != "TRAILER":
			absent = append(absent, "`"+name+"`")
		default:
			operand := [...]string{"", "(...) or nothing", "(...)"}[spec.operands]
			length := ""
			if spec.length {
				length = "yes"
			}
			headers := ""
			if spec.headers {
				headers = "yes"
			}
			known = append(known, fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, operand, length, headers))
		}
	}
	return `# Command operators

What leno expands between per cent signs in access logs and in header operations, with Envoy's names and meanings. This page is
generated from the table that the decoder follows.

| operator | operand | length | also in header operations |
| --- | --- | --- | --- |
` + strings.Join(known, "") + `
A trailer is not passed on, so ` + "`TRAILER`" + ` has no value. ` + "`REQ_WITHOUT_QUERY`" + ` needs the formatter ` + "`envoy.formatter.req_without_query`" + `.
Times take ` + "`%Y %m %d %e %j %H %I %M %S %E1S-%E9S %f %1f-%9f %s %1s-%9s %y %a %A %b %B %p %Z %z %Ez %T %F %D %R`" + `.

Without a value, since there is neither TLS nor a trace: ` + strings.Join(absent, ", ") + `.

Not supported: ` + strings.Join(other, ", ") + `. An access log that has one of them is not written, and reported; in a header
operation it is refused. What Envoy 1.40 does not know is an error everywhere.
`
}
