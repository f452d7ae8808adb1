// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strconv"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// verdict is what becomes of a request whose path was looked at.
type verdict int

const (
	goOn verdict = iota
	rejectPath
	redirectPathTo // to the new path
)

// normalizePath makes a path what routes are matched with (Envoy: conn_manager_utility.cc, maybeNormalizePath).
func normalizePath(p *mesh.Paths, path string) (string, verdict) {
	then := goOn
	if p.EscapedSlashes != mesh.KeepEscapedSlashes {
		if plain := unescapeSlashes(path); len(plain) != len(path) {
			path = plain
			switch p.EscapedSlashes {
			case mesh.RejectEscapedSlashes:
				return path, rejectPath
			case mesh.RedirectUnescaped:
				then = redirectPathTo
			}
		}
	}
	if p.Normalize {
		var ok bool
		if path, ok = canonicalPath(path); !ok {
			return path, rejectPath
		}
	}
	if p.MergeSlashes {
		path = mergeSlashes(path)
	}
	return path, then
}

// cutQuery splits before the first "?".
func cutQuery(target string) (path, query string) {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i:]
	}
	return target, ""
}

var slashEscapes = strings.NewReplacer("%2F", "/", "%2f", "/", "%5C", `\`, "%5c", `\`)

func unescapeSlashes(target string) string {
	path, query := cutQuery(target)
	if strings.IndexByte(path, '%') < 0 {
		return target
	}
	return slashEscapes.Replace(path) + query
}

func mergeSlashes(target string) string {
	path, query := cutQuery(target)
	if !strings.Contains(path, "//") {
		return target
	}
	var b strings.Builder
	b.Grow(len(target))
	begin, end := path[0] == '/', path[len(path)-1] == '/'
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		if begin {
			b.WriteByte('/')
		}
		begin = true
		b.WriteString(part)
	}
	if b.Len() == 0 {
		b.WriteByte('/') // only slashes: Envoy keeps the first and the last
	}
	if end {
		b.WriteByte('/')
	}
	b.WriteString(query)
	return b.String()
}

// escaped are the bytes that a canonical path writes with a percent sign (those that no target may hold are left out).
const escaped = "\"<>^`{|}"

// canonicalPath resolves dot segments, decodes what needs no escape and escapes what does, in the path of a target; the query
// stays. False: it holds %00. (Envoy: path_utility.cc, over Chromium's url_canon_path.cc.)
func canonicalPath(target string) (string, bool) {
	path, query := cutQuery(target)
	if canonical(path) {
		return target, true
	}
	path = dropDotParameters(path)
	out := make([]byte, 0, len(target)+8)
	if path == "" || !isSlash(path[0]) {
		out = append(out, '/')
	}
	ok := true
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch n := dot(path[i:]); {
		case n > 0 && len(out) > 0 && out[len(out)-1] == '/':
			kind, length := dotSegment(path[i:])
			switch kind {
			case 0:
				out = append(out, '.')
				i += n - 1
			case 1:
				i += length - 1
			default:
				out = parent(out)
				i += length - 1
			}
		case n > 0:
			out = append(out, '.')
			i += n - 1
		case c == '\\':
			out = append(out, '/')
		case c == '%':
			v, is := hexPair(path[i+1:])
			switch {
			case is && unreserved(v):
				out = append(out, v)
				i += 2
			case is:
				ok = ok && v != 0
				out = append(out, path[i:i+3]...)
				i += 2
			default:
				out = append(out, c)
			}
		case strings.IndexByte(escaped, c) >= 0:
			const digits = "0123456789ABCDEF"
			out = append(out, '%', digits[c>>4], digits[c&15])
		default:
			out = append(out, c)
		}
	}
	return string(append(out, query...)), ok
}

// canonical says whether a path is surely in its canonical form.
func canonical(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c == '.' && path[i-1] == '/', c == '%', c == '\\':
			return false
		case c >= 'a' && c <= 'z' || c >= '/' && c <= '9':
		case strings.IndexByte(escaped, c) >= 0:
			return false
		}
	}
	return true
}

// dropDotParameters removes what follows the ";" of segments such as "..;x", which some servers take for "..".
func dropDotParameters(path string) string {
	if !strings.Contains(path, ".;") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if name, _, ok := strings.Cut(s, ";"); ok && i > 0 && (name == "." || name == "..") {
			segments[i] = name
		}
	}
	return strings.Join(segments, "/")
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// dot is the length of a dot at the beginning of s, plain or escaped; 0: there is none.
func dot(s string) int {
	switch {
	case s[0] == '.':
		return 1
	case len(s) >= 3 && s[0] == '%' && s[1] == '2' && s[2]|0x20 == 'e':
		return 3
	}
	return 0
}

// dotSegment says what the segment at the beginning of s, which begins with a dot, is: 0 an ordinary one, 1 ".", 2 "..";
// and how long it is with the slash behind it.
func dotSegment(s string) (kind, length int) {
	for kind < 2 {
		n := 0
		if length < len(s) {
			n = dot(s[length:])
		}
		if n == 0 {
			return 0, 0
		}
		kind++
		length += n
		switch {
		case length == len(s):
			return kind, length
		case isSlash(s[length]):
			return kind, length + 1
		}
	}
	return 0, 0
}

// parent drops the last segment; out ends with a slash.
func parent(out []byte) []byte {
	i := len(out) - 2
	for i >= 0 && out[i] != '/' {
		i--
	}
	return out[:max(i, 0)+1]
}

func hexPair(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:2], 16, 8)
	return byte(v), err == nil
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// normalizeHost takes out of the authority what routes are not matched with (Envoy: maybeNormalizeHost). port is the
// listener's.
func normalizeHost(a *mesh.Authority, r *http1.Request, port uint16) {
	host := r.Header.Value("host")
	was := host
	if a.StripTrailingDot {
		switch i := strings.LastIndexByte(host, '.'); {
		case i < 0:
		case i == len(host)-1:
			host = host[:i]
		case host[i+1] == ':':
			host = host[:i] + host[i+1:]
		}
	}
	if a.StripPort != mesh.KeepPort && r.Method != "CONNECT" {
		if name, text, ok := cutPort(host); ok {
			n, err := strconv.ParseUint(text, 10, 32)
			if err == nil && (a.StripPort == mesh.StripAnyPort || n == uint64(port)) {
				host = name
			}
		}
	}
	if host != was {
		r.Header.Set("host", host)
	}
}
