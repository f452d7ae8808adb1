// SPDX-License-Identifier: Apache-2.0

package http1

import "strings"

// Field is one line of a head. Name is in lower case.
type Field struct{ Name, Value string }

// Header is the fields of a head in order. Some names hold one value only: a second one is appended to the first behind
// a comma, as in Envoy's header map, where those names are inline headers.
type Header struct {
	Fields   []Field
	Response bool // which names are joined
}

// Get returns the first value of name.
func (h *Header) Get(name string) (string, bool) {
	for i := range h.Fields {
		if h.Fields[i].Name == name {
			return h.Fields[i].Value, true
		}
	}
	return "", false
}

// Value is Get without the second result: absent is "".
func (h *Header) Value(name string) string {
	v, _ := h.Get(name)
	return v
}

// Has says whether name is there.
func (h *Header) Has(name string) bool {
	_, ok := h.Get(name)
	return ok
}

// Set leaves one field of name, with that value.
func (h *Header) Set(name, value string) {
	for i := range h.Fields {
		if h.Fields[i].Name == name {
			h.Fields[i].Value = value
			h.remove(name, i+1)
			return
		}
	}
	h.Fields = append(h.Fields, Field{name, value})
}

// Add appends a field, or joins it with the one that is there.
func (h *Header) Add(name, value string) {
	if joined(name, h.Response) {
		for i := range h.Fields {
			if f := &h.Fields[i]; f.Name == name {
				switch {
				case f.Value == "":
					f.Value = value
				case value != "":
					f.Value += "," + value
				}
				return
			}
		}
	}
	h.Fields = append(h.Fields, Field{name, value})
}

// Del removes all fields of name.
func (h *Header) Del(name string) { h.remove(name, 0) }

func (h *Header) remove(name string, from int) {
	keep := from
	for i := from; i < len(h.Fields); i++ {
		if h.Fields[i].Name != name {
			if keep != i {
				h.Fields[keep] = h.Fields[i]
			}
			keep++
		}
	}
	h.Fields = h.Fields[:keep]
}

// HasToken says whether one of the comma-separated words of name is token, compared without case.
func (h *Header) HasToken(name, token string) bool {
	v, ok := h.Get(name)
	if !ok {
		return false
	}
	for word := range strings.SplitSeq(v, ",") {
		if strings.EqualFold(strings.Trim(word, " \t"), token) {
			return true
		}
	}
	return false
}

// joined lists Envoy's inline headers (envoy/http/header_map.h, INLINE_REQ_HEADERS and so on, and what the filters of the
// stock binary register), found by asking 1.40 with each name given twice.
func joined(name string, response bool) bool {
	switch name {
	case "cache-control", "connection", "content-encoding", "content-length", "content-type", "keep-alive", "proxy-connection",
		"proxy-status", "transfer-encoding", "upgrade", "via", "x-envoy-attempt-count", "x-envoy-decorator-operation", "x-request-id":
		return true
	case "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
		"access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "age", "date", "etag", "expires",
		"grpc-message", "grpc-status", "last-modified", "location", "server", "vary", "x-envoy-degraded",
		"x-envoy-immediate-health-check-fail", "x-envoy-ratelimited", "x-envoy-upstream-canary",
		"x-envoy-upstream-healthchecked-cluster", "x-envoy-upstream-service-time":
		return response
	case "accept", "accept-encoding", "access-control-request-headers", "access-control-request-method", "authorization", "expect",
		"grpc-timeout", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "pragma",
		"referer", "te", "user-agent", "x-client-trace-id", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node",
		"x-envoy-external-address", "x-envoy-original-host", "x-envoy-original-path", "x-forwarded-client-cert", "x-forwarded-for",
		"x-forwarded-host", "x-forwarded-port", "x-forwarded-proto":
		return !response
	}
	return false
}
