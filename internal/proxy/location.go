// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strconv"
	"strings"
)

// location is where a redirect leads to.
type location struct{ scheme, host, path string }

// parseLocation reads an absolute URL as Envoy does (source/common/http/utility.cc, Url::initialize); user and fragment are
// left out.
func parseLocation(text string) (l location, ok bool) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !consists(scheme, "+-.") {
		return l, false
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, l.path = rest[:i], rest[i:]
	}
	if user, after, there := strings.Cut(host, "@"); there {
		if user != "" && !consists(user, "-._~!$&'()*+,;=:%") {
			return l, false
		}
		host = after
	}
	if !hostValid(host) || strings.HasPrefix(l.path, "#") {
		return l, false
	}
	for i := range len(l.path) {
		if c := l.path[i]; c <= ' ' || c > '~' {
			return l, false
		}
	}
	l.scheme, l.host = strings.ToLower(scheme), host
	l.path, _, _ = strings.Cut(l.path, "#")
	if !strings.HasPrefix(l.path, "/") {
		l.path = "/" + l.path
	}
	return l, true
}

// hostValid says whether text is a name or an address, with a port or without.
func hostValid(text string) bool {
	name, port, there := cutPort(text)
	if there {
		if n, err := strconv.ParseUint(port, 10, 32); err != nil || n > 65535 {
			return false
		}
	}
	if inner, bracketed := strings.CutPrefix(name, "["); bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
		return bracketed && consists(inner, ".:")
	}
	return consists(name, "-.")
}

// consists says whether text is of letters, digits and the bytes in more, and not empty.
func consists(text, more string) bool {
	for i := range len(text) {
		c := text[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z') && !('0' <= c && c <= '9') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return text != ""
}
