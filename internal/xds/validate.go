// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The constraints that Envoy's API files carry are checked by code generated with them; these are the parts of
// its error values that are needed to find the field.
type (
	allValidator    interface{ ValidateAll() error }
	validationList  interface{ AllErrors() []error }
	validationError interface {
		Field() string
		Reason() string
		Cause() error
	}
)

// validate adds every broken constraint of m, which stands at path.
func validate(m proto.Message, path string, f *findings) {
	if v, ok := m.(allValidator); ok {
		if err := v.ValidateAll(); err != nil {
			addValidation(err, m.ProtoReflect().Descriptor(), path, f)
		}
	}
}

func addValidation(err error, md protoreflect.MessageDescriptor, path string, f *findings) {
	var list validationList
	if errors.As(err, &list) {
		for _, e := range list.AllErrors() {
			addValidation(e, md, path, f)
		}
		return
	}
	var e validationError
	if !errors.As(err, &e) {
		f.invalid(path, "%v", err)
		return
	}
	name, index := e.Field(), ""
	if i := strings.IndexByte(name, '['); i >= 0 {
		name, index = name[:i], name[i:]
	}
	fd := fieldByGoName(md, name)
	if fd == nil {
		f.invalid(path, "%s", oneofReason(md, name, e.Reason()))
		return
	}
	sub := join(path, string(fd.Name())) + index
	inner := fd.Message()
	if fd.IsMap() {
		inner = fd.MapValue().Message()
		sub = join(path, string(fd.Name())) + fmt.Sprintf("[%q]", strings.Trim(index, "[]")) // as the decoder writes it
	}
	if e.Cause() != nil && inner != nil {
		addValidation(e.Cause(), inner, sub, f)
		return
	}
	f.invalid(sub, "%s", e.Reason())
}

// oneofReason words a constraint that belongs to a choice between fields.
func oneofReason(md protoreflect.MessageDescriptor, goOneof, reason string) string {
	for i := range md.Oneofs().Len() {
		o := md.Oneofs().Get(i)
		if goName(string(o.Name())) != goOneof {
			continue
		}
		var names []string
		for j := range o.Fields().Len() {
			names = append(names, string(o.Fields().Get(j).Name()))
		}
		return "one of " + strings.Join(names, ", ") + " is required"
	}
	return goOneof + ": " + reason
}

func fieldByGoName(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	for i := range md.Fields().Len() {
		if fd := md.Fields().Get(i); goName(string(fd.Name())) == name {
			return fd
		}
	}
	return nil
}

// goName is the name that protoc-gen-go gives to a field.
func goName(s string) string {
	lower := func(i int) bool { return i < len(s) && s[i] >= 'a' && s[i] <= 'z' }
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '_' && lower(i+1):
			continue
		case c >= '0' && c <= '9':
			b = append(b, c)
			continue
		case lower(i):
			c -= 'a' - 'A'
		}
		b = append(b, c)
		for lower(i + 1) {
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}
