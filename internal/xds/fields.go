// SPDX-License-Identifier: Apache-2.0

package xds

//go:generate go test -run ^TestF(ields|ormats)Doc$ -update .

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/leno-mesh/leno/internal/mesh"
)

// rule says what leno does with a field that is set.
type rule int

const (
	// honoured: the field does what it does in Envoy, within the limits that the row's note names.
	honoured rule = iota + 1
	// skipped: it observes or tunes; reported, and traffic is not changed.
	skipped
	// refused: it could change a request or who may pass, and is not supported.
	refused
)

func (r rule) String() string { return [...]string{"", "honoured", "skipped", "refused"}[r] }

// row is one field, or with all that is below it, one message. What no row names is refused.
type row struct {
	path string // proto path below the section's message; "{}" at the end: honoured only while it is empty
	rule rule
	note string
	// into names the sections that go on below the field. For an Any the one whose message it holds is taken, and
	// rule is for all other types.
	into []string
	// observers are the types of an Any that only observe or tune: skipped.
	observers []string
}

// section is the rows of one message at one role.
type section struct {
	name  string
	title string
	msg   protoreflect.FullName
	rows  []row
}

// table is the one list that the decoder, `leno check` and docs/fields.md follow.
type table struct {
	sections []section
	roots    map[string]*fieldNode
}

// fieldNode is a section's rows as a tree over the field names.
type fieldNode struct {
	row  *row // nil: only what is below has rows
	sub  map[protoreflect.Name]*fieldNode
	deep bool // a message whose fields have rows, or none
}

func newTable() *table {
	t := &table{roots: map[string]*fieldNode{}}
	t.sections = append(t.sections, bootstrapFields()...)
	t.sections = append(t.sections, listenerFields()...)
	t.sections = append(t.sections, httpFields()...)
	t.sections = append(t.sections, managerFields()...)
	t.sections = append(t.sections, logFields()...)
	t.sections = append(t.sections, filterFields()...)
	t.sections = append(t.sections, routeFields()...)
	t.sections = append(t.sections, clusterFields()...)
	t.sections = append(t.sections, healthFields()...)
	t.sections = append(t.sections, balancingFields()...)
	for i := range t.sections {
		s := &t.sections[i]
		root := &fieldNode{sub: map[protoreflect.Name]*fieldNode{}, deep: true}
		for j := range s.rows {
			root.insert(&s.rows[j])
		}
		t.roots[s.name] = root
	}
	return t
}

func (n *fieldNode) insert(r *row) {
	path, empty := strings.CutSuffix(r.path, "{}")
	steps := strings.Split(path, ".")
	for i, step := range steps {
		next := n.sub[protoreflect.Name(step)]
		if next == nil {
			next = &fieldNode{sub: map[protoreflect.Name]*fieldNode{}}
			n.sub[protoreflect.Name(step)] = next
		}
		next.deep = next.deep || i < len(steps)-1 || empty
		n = next
	}
	n.row = r
}

// walk applies a section to a message: every field that is set and not honoured is found.
func (t *table) walk(name string, m proto.Message, path string, f *findings) {
	t.message(t.roots[name], m.ProtoReflect(), path, f)
}

func (t *table) message(n *fieldNode, m protoreflect.Message, path string, f *findings) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		sub := join(path, string(fd.Name()))
		next := n.sub[fd.Name()]
		switch {
		case next == nil && n.row != nil && n.row.note != "":
			f.refused(sub, "is not supported: leno accepts %s", n.row.note)
		case next == nil:
			f.refused(sub, "is not supported")
		case next.row != nil && !next.deep && next.row.into == nil && next.row.observers == nil:
			next.row.report(sub, f)
		default:
			t.values(next, fd, v, sub, f)
		}
		return true
	})
}

// report tells what a row that ends the walk means.
func (r *row) report(path string, f *findings) {
	switch r.rule {
	case skipped:
		f.skipped(path, "is skipped: %s", r.note)
	case refused:
		f.refused(path, "is not supported: %s", r.note)
	}
}

// values goes into each message that a field holds.
func (t *table) values(n *fieldNode, fd protoreflect.FieldDescriptor, v protoreflect.Value, path string, f *findings) {
	switch {
	case fd.IsMap():
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			t.value(n, fd.MapValue(), v, fmt.Sprintf("%s[%q]", path, k.String()), f)
			return true
		})
	case fd.IsList():
		for i := range v.List().Len() {
			t.value(n, fd, v.List().Get(i), at(path, i), f)
		}
	default:
		t.value(n, fd, v, path, f)
	}
}

func (t *table) value(n *fieldNode, fd protoreflect.FieldDescriptor, v protoreflect.Value, path string, f *findings) {
	if fd.Message() == nil {
		if n.row != nil {
			n.row.report(path, f)
		}
		return
	}
	if a, ok := v.Message().Interface().(*anypb.Any); ok && n.row != nil {
		t.any(n.row, a, path, f)
		return
	}
	if n.row != nil && n.row.into != nil {
		t.walk(n.row.into[0], v.Message().Interface(), path, f)
		return
	}
	t.message(n, v.Message(), path, f)
}

func (t *table) any(r *row, a *anypb.Any, path string, f *findings) {
	name := typeName(a)
	for _, s := range t.sections {
		if string(s.msg) != name || !contains(r.into, s.name) {
			continue
		}
		if m := unpack(a); m != nil {
			validate(m, path, f)
			t.walk(s.name, m, path, f)
		}
		return
	}
	if contains(r.observers, name) {
		f.skipped(path, "is skipped: %s only observes or tunes", name)
		return
	}
	if r.rule == honoured || r.rule == refused {
		f.add(mesh.Refused, path, "%s is not supported: %s", name, r.note)
		return
	}
	r.report(path, f)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
