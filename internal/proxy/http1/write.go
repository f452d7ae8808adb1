// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net/http"
	"strconv"
)

// AppendRequest writes a head for an upstream. f is how the body will be sent: with Length the fields already hold its
// Content-Length.
func AppendRequest(dst []byte, m *Request, f Framing) []byte {
	dst = append(dst, m.Method...)
	dst = append(dst, ' ')
	if m.Path == "" {
		dst = append(dst, m.Header.Value("host")...)
	} else {
		dst = append(dst, m.Path...)
	}
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = appendFields(dst, m.Header.Fields)
	switch {
	case f == Chunked:
		dst = append(dst, "transfer-encoding: chunked\r\n"...)
	case f == None && !m.Header.Has("content-length") && !bodiless(m.Method) && m.Upgrade == "":
		dst = append(dst, "content-length: 0\r\n"...)
	}
	return append(dst, '\r', '\n')
}

// bodiless are the methods whose absent body needs no "content-length: 0" (RFC 9110 section 8.6; Envoy's list).
func bodiless(method string) bool {
	switch method {
	case "GET", "HEAD", "DELETE", "TRACE", "CONNECT":
		return true
	}
	return false
}

// AppendResponse writes a head for a client. f is how the body will be sent: with Length the fields already hold its
// Content-Length, with UntilClose nothing is said of it.
func AppendResponse(dst []byte, status int, h *Header, f Framing, close bool) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, Reason(status)...)
	dst = append(dst, '\r', '\n')
	dst = appendFields(dst, h.Fields)
	if f == Chunked {
		dst = append(dst, "transfer-encoding: chunked\r\n"...)
	}
	if close {
		dst = append(dst, "connection: close\r\n"...)
	}
	return append(dst, '\r', '\n')
}

// Reason is the phrase of a status.
func Reason(status int) string {
	if s := http.StatusText(status); s != "" {
		return s
	}
	return "Unknown"
}

func appendFields(dst []byte, fields []Field) []byte {
	for i := range fields {
		dst = append(dst, fields[i].Name...)
		dst = append(dst, ':', ' ')
		dst = append(dst, fields[i].Value...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// Continue is the interim response to Expect: 100-continue.
const Continue = "HTTP/1.1 100 Continue\r\n\r\n"

// AppendChunkHead and ChunkTail enclose a piece; LastChunk ends a chunked body without trailers.
func AppendChunkHead(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, '\r', '\n')
}

const (
	ChunkTail = "\r\n"
	LastChunk = "0\r\n\r\n"
)
