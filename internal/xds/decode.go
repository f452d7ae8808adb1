// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxNodes bounds what one resource may decode to, so that aliases of aliases cannot blow up a small file.
const maxNodes = 8 << 20

// maxDepth bounds nesting; Envoy's own protobuf parser stops at 100.
const maxDepth = 100

// decoder turns text nodes into protos. Unlike protojson it goes on after an error, and knows the path of each.
type decoder struct {
	f     *findings
	nodes int
	depth int
	full  bool // the bound is reached and was reported
}

// decode fills m from n; everything that Envoy would refuse to parse is in f.
func decode(n *yaml.Node, m proto.Message, f *findings) {
	d := &decoder{f: f}
	d.message(n, m.ProtoReflect(), "")
}

// spend counts one node; false: too many or too deep.
func (d *decoder) spend(path string) bool {
	d.nodes++
	if d.nodes <= maxNodes && d.depth <= maxDepth {
		return true
	}
	if !d.full {
		d.full = true
		d.f.invalid(path, "too many values or nested deeper than %d levels (are YAML aliases used on aliases?)", maxDepth)
	}
	return false
}

func (d *decoder) message(n *yaml.Node, m protoreflect.Message, path string) {
	n = resolve(n)
	if d.depth++; !d.spend(path) {
		d.depth--
		return
	}
	defer func() { d.depth-- }()
	if d.wellKnown(n, m, path) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.f.invalid(path, "must be a mapping (%s), not %s", m.Descriptor().FullName(), kindOf(n))
		return
	}
	seen := map[protoreflect.Name]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		d.field(n.Content[i], n.Content[i+1], m, path, seen)
	}
}

func (d *decoder) field(key, val *yaml.Node, m protoreflect.Message, path string, seen map[protoreflect.Name]bool) {
	md := m.Descriptor()
	fd := fieldByName(md, key.Value)
	if fd == nil {
		d.f.invalid(join(path, key.Value), "no such field in %s%s", md.FullName(), didYouMean(md, key.Value))
		return
	}
	sub := join(path, string(fd.Name()))
	if seen[fd.Name()] {
		d.f.refused(sub, "is given twice, and which one counts is not defined")
		return
	}
	seen[fd.Name()] = true
	val = resolve(val)
	if isNull(val) && fd.Message() == nil || isNull(val) && fd.Message().FullName() != "google.protobuf.Value" {
		return // null stands for absent in the JSON form of protos
	}
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() && m.WhichOneof(o) != nil {
		d.f.invalid(sub, "cannot be given together with %s", m.WhichOneof(o).Name())
		return
	}
	switch {
	case fd.IsMap():
		d.mapping(val, m, fd, sub)
	case fd.IsList():
		d.list(val, m, fd, sub)
	case fd.Message() != nil:
		d.message(val, m.Mutable(fd).Message(), sub)
	default:
		if v, ok := d.scalar(val, fd, sub); ok {
			m.Set(fd, v)
		}
	}
}

func (d *decoder) list(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	if n.Kind != yaml.SequenceNode {
		d.f.invalid(path, "must be a list, not %s", kindOf(n))
		return
	}
	l := m.Mutable(fd).List()
	for i, c := range n.Content {
		sub := at(path, i)
		if fd.Message() != nil {
			v := l.NewElement()
			d.message(c, v.Message(), sub)
			l.Append(v)
		} else if v, ok := d.scalar(resolve(c), fd, sub); ok {
			l.Append(v)
		}
		if d.full {
			return
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	if n.Kind != yaml.MappingNode {
		d.f.invalid(path, "must be a mapping, not %s", kindOf(n))
		return
	}
	mp := m.Mutable(fd).Map()
	for i := 0; i+1 < len(n.Content); i += 2 {
		sub := fmt.Sprintf("%s[%q]", path, n.Content[i].Value)
		if fd.MapKey().Kind() != protoreflect.StringKind {
			d.f.invalid(sub, "keys of type %s are not known", fd.MapKey().Kind())
			return
		}
		key := protoreflect.ValueOfString(n.Content[i].Value).MapKey()
		if mp.Has(key) {
			d.f.invalid(sub, "is given twice")
			continue
		}
		val := resolve(n.Content[i+1])
		if fd.MapValue().Message() != nil {
			v := mp.NewValue()
			d.message(val, v.Message(), sub)
			mp.Set(key, v)
		} else if v, ok := d.scalar(val, fd.MapValue(), sub); ok {
			mp.Set(key, v)
		}
	}
}

// scalar reads one value that is not a message.
func (d *decoder) scalar(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (protoreflect.Value, bool) {
	var none protoreflect.Value
	if !d.spend(path) {
		return none, false
	}
	if n.Kind != yaml.ScalarNode {
		d.f.invalid(path, "must be a %s, not %s", fd.Kind(), kindOf(n))
		return none, false
	}
	v, err := scalarValue(n, fd)
	if err != nil {
		d.f.invalid(path, "%v", err)
		return none, false
	}
	return v, true
}

func scalarValue(n *yaml.Node, fd protoreflect.FieldDescriptor) (v protoreflect.Value, err error) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		b, err := boolValue(n)
		return protoreflect.ValueOfBool(b), err
	case protoreflect.StringKind:
		if !isString(n) {
			return v, fmt.Errorf("must be a string: put %s into quotes", n.Value)
		}
		return protoreflect.ValueOfString(n.Value), nil
	case protoreflect.BytesKind:
		b, err := base64Value(n.Value)
		return protoreflect.ValueOfBytes(b), err
	case protoreflect.EnumKind:
		return enumValue(n, fd.Enum())
	case protoreflect.FloatKind:
		f, err := floatValue(n)
		return protoreflect.ValueOfFloat32(float32(f)), err
	case protoreflect.DoubleKind:
		f, err := floatValue(n)
		return protoreflect.ValueOfFloat64(f), err
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		i, err := intValue(n, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(i)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		i, err := intValue(n, math.MinInt64, math.MaxInt64)
		return protoreflect.ValueOfInt64(i), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		u, err := uintValue(n, math.MaxUint32)
		return protoreflect.ValueOfUint32(uint32(u)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		u, err := uintValue(n, math.MaxUint64)
		return protoreflect.ValueOfUint64(u), err
	}
	return v, fmt.Errorf("values of type %s are not known", fd.Kind())
}

// boolWords are the booleans of YAML 1.1, in the cases that Envoy's loader knows. A name that is written like one
// needs quotes.
var boolWords = map[string]bool{
	"true": true, "True": true, "TRUE": true, "yes": true, "Yes": true, "YES": true,
	"on": true, "On": true, "ON": true, "y": true, "Y": true,
	"false": false, "False": false, "FALSE": false, "no": false, "No": false, "NO": false,
	"off": false, "Off": false, "OFF": false, "n": false, "N": false,
}

func boolValue(n *yaml.Node) (bool, error) {
	if v, ok := boolWords[n.Value]; ok && plain(n) || n.Value == "true" || n.Value == "false" {
		return v, nil
	}
	return false, fmt.Errorf("must be true or false, not %q", n.Value)
}

func enumValue(n *yaml.Node, ed protoreflect.EnumDescriptor) (protoreflect.Value, error) {
	if v := ed.Values().ByName(protoreflect.Name(n.Value)); v != nil {
		return protoreflect.ValueOfEnum(v.Number()), nil
	}
	if i, err := strconv.ParseInt(n.Value, 10, 32); err == nil && ed.Values().ByNumber(protoreflect.EnumNumber(i)) != nil {
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(i)), nil
	}
	var names []string
	for i := range ed.Values().Len() {
		names = append(names, string(ed.Values().Get(i).Name()))
	}
	return protoreflect.Value{}, fmt.Errorf("must be one of %s, not %q", strings.Join(names, ", "), n.Value)
}

func floatValue(n *yaml.Node) (float64, error) {
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil {
		return 0, fmt.Errorf("must be a number, not %q", n.Value)
	}
	return f, nil
}

func intValue(n *yaml.Node, lo, hi int64) (int64, error) {
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if u, ok := plainInt(n); ok && u <= math.MaxInt64 {
		i = int64(u)
	} else if err != nil {
		f, ferr := strconv.ParseFloat(n.Value, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, fmt.Errorf("must be a whole number, not %q", n.Value)
		}
		i = int64(f)
	}
	if i < lo || i > hi {
		return 0, fmt.Errorf("must be between %d and %d, not %s", lo, hi, n.Value)
	}
	return i, nil
}

func uintValue(n *yaml.Node, hi uint64) (uint64, error) {
	u, err := strconv.ParseUint(n.Value, 10, 64)
	if v, ok := plainInt(n); ok {
		u = v
	} else if err != nil {
		f, ferr := strconv.ParseFloat(n.Value, 64)
		if ferr != nil || f != math.Trunc(f) || f < 0 || f > 1<<53 {
			return 0, fmt.Errorf("must be a whole number from 0 to %d, not %q", hi, n.Value)
		}
		u = uint64(f)
	}
	if u > hi {
		return 0, fmt.Errorf("must be a whole number from 0 to %d, not %s", hi, n.Value)
	}
	return u, nil
}

func base64Value(s string) ([]byte, error) {
	enc := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.URLEncoding
	}
	if len(s)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("must be bytes in base64: %w", err)
	}
	return b, nil
}

// isString says whether a scalar is text for Envoy's YAML loader, which takes unquoted numbers and booleans for such.
func isString(n *yaml.Node) bool {
	if !plain(n) {
		return true
	}
	_, number := strconv.ParseFloat(n.Value, 64)
	_, word := boolWords[n.Value]
	_, whole := plainInt(n)
	return number != nil && !word && !whole
}

// plain says whether a scalar stands without quotes, a block sign or a tag.
func plain(n *yaml.Node) bool { return n.Style == 0 }

// plainInt reads the hexadecimal and octal numbers of YAML 1.1.
func plainInt(n *yaml.Node) (uint64, bool) {
	if !plain(n) || len(n.Value) < 2 || n.Value[0] != '0' || strings.ContainsAny(n.Value, "_oObB") {
		return 0, false
	}
	u, err := strconv.ParseUint(n.Value, 0, 64)
	return u, err == nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if isNull(n) {
		return "null"
	}
	if len(n.Value) > 40 {
		return fmt.Sprintf("%q...", n.Value[:40])
	}
	return fmt.Sprintf("%q", n.Value)
}

func fieldByName(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByName(protoreflect.Name(name)); fd != nil {
		return fd
	}
	return md.Fields().ByJSONName(name)
}

// didYouMean proposes the field whose name is nearest, or lists nothing.
func didYouMean(md protoreflect.MessageDescriptor, name string) string {
	best, dist := "", 3
	for i := range md.Fields().Len() {
		n := string(md.Fields().Get(i).Name())
		if x := distance(name, n, dist); x < dist {
			best, dist = n, x
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the number of edits from a to b, or max if there are more.
func distance(a, b string, max int) int {
	if len(a)-len(b) >= max || len(b)-len(a) >= max {
		return max
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return min(row[len(b)], max)
}
