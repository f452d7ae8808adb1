// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"flag"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

var update = flag.Bool("update", false, "write the golden files")

// Every row must name a field that exists, and go on in sections whose message is that field's.
func TestFieldsExist(t *testing.T) {
	tab := newTable()
	byName := map[string]section{}
	for _, s := range tab.sections {
		byName[s.name] = s
	}
	for _, s := range tab.sections {
		mt, err := protoregistry.GlobalTypes.FindMessageByName(s.msg)
		if err != nil {
			t.Errorf("section %s: %s: %v", s.name, s.msg, err)
			continue
		}
		seen := map[string]bool{}
		for _, r := range s.rows {
			if seen[r.path] {
				t.Errorf("%s: %s has two rows", s.name, r.path)
			}
			seen[r.path] = true
			if r.rule == 0 || r.rule != honoured && r.note == "" {
				t.Errorf("%s: %s has no rule, or no sentence", s.name, r.path)
			}
			md := fieldAt(t, mt.Descriptor(), s.name, r.path)
			for _, into := range r.into {
				if md == nil || byName[into].name == "" || md.FullName() != "google.protobuf.Any" && md.FullName() != byName[into].msg {
					t.Errorf("%s: %s does not hold the message of section %q", s.name, r.path, into)
				}
			}
		}
	}
}

// fieldAt follows a path; it returns the message there, if there is one.
func fieldAt(t *testing.T, md protoreflect.MessageDescriptor, section, path string) protoreflect.MessageDescriptor {
	t.Helper()
	for _, step := range strings.Split(strings.TrimSuffix(path, "{}"), ".") {
		if md == nil {
			t.Errorf("%s: %s: nothing below a plain value", section, path)
			return nil
		}
		fd := md.Fields().ByName(protoreflect.Name(step))
		if fd == nil {
			t.Errorf("%s: %s: %s has no field %s", section, path, md.FullName(), step)
			return nil
		}
		if md = fd.Message(); fd.IsMap() {
			md = fd.MapValue().Message()
		}
	}
	return md
}

func TestFieldsDoc(t *testing.T) {
	const file = "../../docs/fields.md"
	want := fieldsDoc(newTable())
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the table gives: run go generate ./internal/xds (%v)", file, err)
	}
}

// fieldsDoc is the table for readers.
func fieldsDoc(tab *table) string {
	var b strings.Builder
	b.WriteString(`# Fields of Envoy's API

What leno does with each field of the configuration. This page is generated from the table that the decoder follows.

- **honoured**: does what it does in Envoy, within the limits of the remark. An absent field has Envoy's default.
- **skipped**: it observes or tunes. It is reported, and traffic is not changed by leaving it out.
- **refused**: it could change a request, or who may pass. In the files that are read at start it is an error; in what changes later, the smallest part that holds it becomes a tombstone.

**A field that is not on this page is refused.** So is a typed message of a type that is not named here.
` + "A `→` names the section that goes on below the field.\n")
	for _, s := range tab.sections {
		b.WriteString("\n## " + s.title + "\n`" + string(s.msg) + "`\n")
		if len(s.rows) == 0 {
			b.WriteString("\nOnly empty.\n")
			continue
		}
		b.WriteString("\n| field | leno | remark |\n| --- | --- | --- |\n")
		for _, r := range s.rows {
			b.WriteString("| `" + strings.TrimSuffix(r.path, "{}") + "` | " + ruleText(r) + " | " + remark(tab, r) + " |\n")
		}
	}
	return b.String()
}

func ruleText(r row) string {
	if r.into != nil && r.rule == refused {
		return "honoured or refused"
	}
	if r.observers != nil {
		return "skipped or refused"
	}
	return r.rule.String()
}

func remark(tab *table, r row) string {
	var parts []string
	for _, name := range r.into {
		for _, s := range tab.sections {
			if s.name == name {
				parts = append(parts, "→ "+s.title)
			}
		}
	}
	if r.note != "" {
		parts = append(parts, r.note)
	}
	if r.observers != nil {
		parts = append(parts, "skipped: `"+strings.Join(r.observers, "`, `")+"`")
	}
	return strings.ReplaceAll(strings.Join(parts, "; "), "|", "\\|")
}
