// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// wellKnown decodes the messages that have a JSON form of their own; false: m is none of them.
func (d *decoder) wellKnown(n *yaml.Node, m protoreflect.Message, path string) bool {
	switch m.Descriptor().FullName() {
	case "google.protobuf.Any":
		d.any(n, m.Interface().(*anypb.Any), path)
	case "google.protobuf.Duration", "google.protobuf.Timestamp", "google.protobuf.FieldMask":
		d.text(n, m, path)
	case "google.protobuf.Struct":
		if n.Kind != yaml.MappingNode {
			d.f.invalid(path, "must be a mapping, not %s", kindOf(n))
		} else if v := d.value(n, path); v != nil {
			proto.Merge(m.Interface(), v.GetStructValue())
		}
	case "google.protobuf.ListValue":
		if n.Kind != yaml.SequenceNode {
			d.f.invalid(path, "must be a list, not %s", kindOf(n))
		} else if v := d.value(n, path); v != nil {
			proto.Merge(m.Interface(), v.GetListValue())
		}
	case "google.protobuf.Value":
		if v := d.value(n, path); v != nil {
			proto.Merge(m.Interface(), v)
		}
	case "google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt32Value",
		"google.protobuf.UInt64Value", "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		fd := m.Descriptor().Fields().ByName("value")
		if v, ok := d.scalar(n, fd, path); ok {
			m.Set(fd, v)
		}
	default:
		return false
	}
	return true
}

// text decodes what is written as one string, such as "1.5s".
func (d *decoder) text(n *yaml.Node, m protoreflect.Message, path string) {
	what := strings.ToLower(string(m.Descriptor().Name()))
	if n.Kind != yaml.ScalarNode {
		d.f.invalid(path, "must be a %s, not %s", what, kindOf(n))
		return
	}
	quoted, err := protojson.Marshal(structpb.NewStringValue(n.Value))
	if err == nil {
		err = protojson.Unmarshal(quoted, m.Interface())
	}
	if err != nil {
		example := map[string]string{"duration": ` such as "5s" or "0.25s"`}[what]
		d.f.invalid(path, "must be a %s%s, not %q", what, example, n.Value)
	}
}

// value decodes free-form data.
func (d *decoder) value(n *yaml.Node, path string) *structpb.Value {
	n = resolve(n)
	d.depth++
	defer func() { d.depth-- }()
	if !d.spend(path) {
		return nil
	}
	switch n.Kind {
	case yaml.SequenceNode:
		l := &structpb.ListValue{}
		for i, c := range n.Content {
			if v := d.value(c, at(path, i)); v != nil {
				l.Values = append(l.Values, v)
			}
		}
		return structpb.NewListValue(l)
	case yaml.MappingNode:
		s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := d.value(n.Content[i+1], join(path, n.Content[i].Value)); v != nil {
				s.Fields[n.Content[i].Value] = v
			}
		}
		return structpb.NewStructValue(s)
	}
	return scalarAny(n)
}

func scalarAny(n *yaml.Node) *structpb.Value {
	switch {
	case isNull(n):
		return structpb.NewNullValue()
	case isString(n):
		return structpb.NewStringValue(n.Value)
	}
	if f, err := floatValue(n); err == nil {
		return structpb.NewNumberValue(f)
	}
	b, _ := boolValue(n) // no text, no number, not null: isString left only booleans
	return structpb.NewBoolValue(b)
}

// any decodes a typed message. A type that leno does not know keeps its name and no content; the table of fields
// says what becomes of it.
func (d *decoder) any(n *yaml.Node, a *anypb.Any, path string) {
	if n.Kind != yaml.MappingNode {
		d.f.invalid(path, "must be a mapping with \"@type\", not %s", kindOf(n))
		return
	}
	t := resolve(child(n, "@type"))
	if t == nil || t.Kind != yaml.ScalarNode || t.Value == "" {
		d.f.invalid(path, "\"@type\" is missing: it names the message, such as type.googleapis.com/envoy.extensions.filters.http.router.v3.Router")
		return
	}
	a.TypeUrl = t.Value
	name := protoreflect.FullName(t.Value[strings.LastIndexByte(t.Value, '/')+1:])
	body := n
	if name == "xds.type.v3.TypedStruct" || name == "udpa.type.v1.TypedStruct" {
		a.TypeUrl, name, body = typedStruct(n)
	}
	if !name.IsValid() || !strings.Contains(t.Value, "/") {
		d.f.invalid(path+`["@type"]`, "must be a type URL such as type.googleapis.com/PACKAGE.MESSAGE, not %q", t.Value)
		return
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil || body == nil {
		return
	}
	m := mt.New()
	if n == body {
		body = withoutType(n)
		if name.Parent() == "google.protobuf" && name != "google.protobuf.Empty" {
			body = child(n, "value") // messages with a JSON form of their own stand below "value"
		}
	}
	if body == nil {
		return
	}
	d.message(body, m, path)
	if a.Value, err = (proto.MarshalOptions{Deterministic: true}).Marshal(m.Interface()); err != nil {
		d.f.invalid(path, "cannot be encoded as %s: %v", name, err)
	}
}

// typedStruct looks through the wrapper that lets a sender name a type without having it.
func typedStruct(n *yaml.Node) (url string, name protoreflect.FullName, body *yaml.Node) {
	if t := resolve(child(n, "type_url")); t != nil {
		url = t.Value
	}
	return url, protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]), child(n, "value")
}

// withoutType is the mapping less its "@type".
func withoutType(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "@type" {
			c.Content = append(c.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &c
}

// unpack returns the content of an Any, or nil if leno does not know its type.
func unpack(a *anypb.Any) proto.Message {
	if a == nil || a.TypeUrl == "" {
		return nil
	}
	m, err := a.UnmarshalNew()
	if err != nil {
		return nil
	}
	return m
}

// typeName is the message name in a type URL.
func typeName(a *anypb.Any) string {
	return a.GetTypeUrl()[strings.LastIndexByte(a.GetTypeUrl(), '/')+1:]
}

// as unpacks an Any that must hold a T.
func as[T proto.Message](a *anypb.Any) (T, error) {
	var zero T
	m, ok := unpack(a).(T)
	if !ok {
		return zero, fmt.Errorf("is a %s, not a %s", typeName(a), zero.ProtoReflect().Descriptor().FullName())
	}
	return m, nil
}
