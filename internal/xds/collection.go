// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"

	"github.com/leno-mesh/leno/internal/mesh"
)

// kept is a resource that was accepted.
type kept[T any] struct {
	sum   digest
	value T
	find  *findings
}

// kind is how one type of resource is read.
type kind[T any] struct {
	typ, word string
	decode    func(entry) (T, *findings)
	// admit holds a new value against those accepted before it.
	admit func(value T, others []T, f *findings)
	name  func(T) string
	// tombstone stands for a resource that was rejected and has no last good value; false: it cannot be said what it
	// would have been.
	tombstone func(rejected T, reason string) (T, bool)
}

// collection is the accepted resources of a file that holds all of a kind (LDS, CDS).
type collection[T any] struct {
	kept  map[string]kept[T]
	order []string // accepted names in file order
}

// update reads the newest document. A document that cannot be read changes nothing.
func (c *collection[T]) update(d *document, k kind[T], problems *[]mesh.Problem) []T {
	if d.problem != nil {
		*problems = append(*problems, *d.problem)
		return c.values()
	}
	next := collection[T]{kept: map[string]kept[T]{}}
	var out []T
	nameless := false
	for _, e := range d.entries {
		it, f := c.one(e, k, out)
		name := e.name
		if name == "" {
			name = k.name(it.value)
		}
		p := place{d.path, e.path, resourceName(k.word, name), e.node}
		if _, twice := next.kept[name]; twice && name != "" {
			f = &findings{}
			f.invalid("name", "%q is the name of another %s", name, k.word)
			*problems = append(*problems, f.show(p)...)
			continue
		}
		*problems = append(*problems, f.show(p)...)
		if f.has(mesh.Rejected) {
			old, had := c.kept[name]
			nameless = nameless || name == ""
			if !had && e.typ == k.typ {
				old.value, had = k.tombstone(it.value, fmt.Sprintf("%s was rejected: %s", k.word, firstRejected(f)))
				old.find = &findings{}
			}
			if !had || name == "" {
				continue
			}
			it = old
		}
		next.add(name, it)
		out = append(out, it.value)
	}
	if nameless {
		// One that has no name might be any of those that are missing now: keep them.
		for _, name := range c.order {
			if _, ok := next.kept[name]; !ok {
				next.add(name, c.kept[name])
				out = append(out, c.kept[name].value)
			}
		}
	}
	*c = next
	return out
}

func (c *collection[T]) add(name string, it kept[T]) {
	c.kept[name] = it
	c.order = append(c.order, name)
}

func (c *collection[T]) values() []T {
	var out []T
	for _, name := range c.order {
		out = append(out, c.kept[name].value)
	}
	return out
}

// one reads one entry, or takes what was read before if its text did not change.
func (c *collection[T]) one(e entry, k kind[T], others []T) (kept[T], *findings) {
	if old, ok := c.kept[e.name]; ok && old.sum == e.sum && e.typ == k.typ {
		return old, old.find
	}
	if e.typ != k.typ {
		f := &findings{}
		f.invalid("", "is a %s; this file holds resources of type %s%s", e.typ, typePrefix, k.typ)
		var zero kept[T]
		zero.value, _ = k.decode(entry{node: emptyMapping()})
		return zero, f
	}
	v, f := k.decode(e)
	if old, ok := c.kept[k.name(v)]; ok && old.sum == e.sum {
		return old, old.find // a resource whose name is made from its content
	}
	k.admit(v, others, f)
	return kept[T]{e.sum, v, f}, f
}

func firstRejected(f *findings) string {
	for _, x := range f.list {
		if x.severity == mesh.Rejected {
			return x.path + ": " + x.msg
		}
	}
	return ""
}

// single is the one resource that is wanted from a file (EDS, RDS).
type single[T any] struct {
	sum   digest
	value T
	find  *findings
	empty bool // a readable file without the resource was seen
}

// update reads the newest document; the last good value stays if it is of no use.
func (s *single[T]) update(d *document, typ, name, word string, decode func(entry) (T, *findings), problems *[]mesh.Problem) {
	report := func(p place, f *findings) { *problems = append(*problems, f.show(p)...) }
	if d.problem != nil {
		if p := *d.problem; !reported(*problems, p) {
			*problems = append(*problems, p)
		}
		return
	}
	if len(d.entries) == 0 {
		s.empty = true
		return
	}
	for _, e := range d.entries {
		p := place{d.path, e.path, resourceName(word, e.name), e.node}
		var f findings
		switch {
		case e.typ != typ:
			f.invalid("", "is a %s; this file holds resources of type %s%s", e.typ, typePrefix, typ)
		case len(d.entries) > 1:
			f.invalid("", "a file that is read for one resource (%s) may hold only that one, not %d", name, len(d.entries))
		case e.name != name:
			f.invalid("", "is named %q; wanted is %q", e.name, name)
		}
		if f.list != nil {
			report(p, &f)
			return
		}
		if s.find != nil && s.sum == e.sum {
			report(p, s.find)
			return
		}
		v, found := decode(e)
		report(p, found)
		if !found.has(mesh.Rejected) {
			s.sum, s.value, s.find = e.sum, v, found
		}
	}
}

func reported(list []mesh.Problem, p mesh.Problem) bool {
	for _, x := range list {
		if x == p {
			return true
		}
	}
	return false
}
