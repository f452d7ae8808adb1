// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// The four levels at which headers are changed have the same getters.
type (
	requestHeaderOps interface {
		GetRequestHeadersToAdd() []*corev3.HeaderValueOption
		GetRequestHeadersToRemove() []string
	}
	responseHeaderOps interface {
		GetResponseHeadersToAdd() []*corev3.HeaderValueOption
		GetResponseHeadersToRemove() []string
	}
)

func requestHeaders(p requestHeaderOps, path string, f *findings) mesh.HeaderOps {
	return headerOps(p.GetRequestHeadersToAdd(), p.GetRequestHeadersToRemove(),
		join(path, "request_headers_to_add"), join(path, "request_headers_to_remove"), f)
}

func responseHeaders(p responseHeaderOps, path string, f *findings) mesh.HeaderOps {
	return headerOps(p.GetResponseHeadersToAdd(), p.GetResponseHeadersToRemove(),
		join(path, "response_headers_to_add"), join(path, "response_headers_to_remove"), f)
}

func headerOps(add []*corev3.HeaderValueOption, remove []string, addPath, removePath string, f *findings) mesh.HeaderOps {
	var ops mesh.HeaderOps
	for i, name := range remove {
		if untouchable(name) {
			f.invalid(at(removePath, i), "headers that begin with : and host may not be removed")
		}
		ops.Remove = append(ops.Remove, strings.ToLower(name))
	}
	for i, o := range add {
		if h, ok := headerAdd(o, at(addPath, i), f); ok {
			ops.Add = append(ops.Add, h)
		}
	}
	return ops
}

// untouchable says whether Envoy forbids to change a header.
func untouchable(name string) bool {
	return strings.HasPrefix(name, ":") || strings.EqualFold(name, "host")
}

var appendActions = map[corev3.HeaderValueOption_HeaderAppendAction]mesh.AppendAction{
	corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:    mesh.AppendIfExistsOrAdd,
	corev3.HeaderValueOption_ADD_IF_ABSENT:              mesh.AddIfAbsent,
	corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD: mesh.OverwriteIfExistsOrAdd,
	corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:        mesh.OverwriteIfExists,
}

func headerAdd(o *corev3.HeaderValueOption, path string, f *findings) (mesh.HeaderAdd, bool) {
	h := mesh.HeaderAdd{Name: strings.ToLower(o.GetHeader().GetKey()), KeepEmptyValue: o.GetKeepEmptyValue(),
		Action: appendActions[o.GetAppendAction()]}
	if untouchable(h.Name) {
		f.invalid(join(path, "header.key"), "headers that begin with : and host may not be changed")
	}
	if a := o.GetAppend(); a != nil { //nolint:staticcheck // deprecated, and still in many files
		if o.GetAppendAction() != corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD {
			f.invalid(join(path, "append"), "cannot be given together with append_action")
		}
		if !a.GetValue() {
			h.Action = mesh.OverwriteIfExistsOrAdd
		}
	}
	v, err := format(o.GetHeader().GetValue(), inHeader, false)
	switch sub := join(path, "header.value"); {
	case errors.As(err, new(*commandError)) || errors.As(err, new(*operandError)):
		f.refused(sub, "%v", err)
		return h, false
	case err != nil:
		f.invalid(sub, "%v", err)
		return h, false
	}
	switch {
	case len(v) == 1 && v[0].Command == "":
		h.Value = v[0].Text
	case len(v) > 0:
		h.Format = v
	}
	return h, true
}

// noCommands refuses command operators where a filter would have to expand them.
func noCommands(adds []mesh.HeaderAdd, path string, f *findings) {
	for i := range adds {
		if adds[i].Format != nil {
			f.refused(path, "command operators are not supported in filters: leno accepts fixed values (%%%% stands for %%)")
		}
	}
}
