// SPDX-License-Identifier: Apache-2.0

// Package http1 is the wire form of HTTP/1.1 (RFC 9112) as Envoy's codec reads
// and writes it: what it accepts, what it refuses and with which status, and
// how it joins repeated fields. It knows messages and not connections: no
// deadlines, no routing, no pools (package proxy).
package http1

import "fmt"

// Error is a message that is not acceptable. Status is what a client is answered with.
type Error struct {
	Status int
	What   string
	// Details are what Envoy calls it (response code details); empty: http1.codec_error.
	Details string
}

func (e *Error) Error() string { return e.What }

func bad(format string, args ...any) error {
	return &Error{Status: 400, What: fmt.Sprintf(format, args...)}
}

// as gives an error Envoy's name.
func as(details string, err error) error {
	err.(*Error).Details = details
	return err
}

// Classes of bytes (RFC 9110 section 5.5 and 5.6.2), one table look-up each.
const (
	isToken     = 1 << iota // may stand in a field name
	isValue                 // may stand in a field value
	isTarget                // may stand in a path or query (Envoy: balsa_parser.cc, isUrlValid)
	isAuthority             // may stand in a host (nghttp2_check_authority)
	isHostName              // may stand in the host of an absolute target, without its user and port
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if letter || contains("!#$%&'*+-.^_`|~", b) {
			t[c] |= isToken
		}
		if b == '\t' || b >= ' ' && b != 0x7f {
			t[c] |= isValue
		}
		if b == '\t' || b == '\f' || b > ' ' && b < 0x7f {
			t[c] |= isTarget
		}
		if letter || contains("-._", b) {
			t[c] |= isHostName
		}
		if letter || contains("!$%&'()*+,-.:;=@[]_~", b) {
			t[c] |= isAuthority
		}
	}
	return t
}()

func contains(set string, b byte) bool {
	for i := range len(set) {
		if set[i] == b {
			return true
		}
	}
	return false
}

func all[S string | []byte](s S, want uint8) bool {
	for i := range len(s) {
		if class[s[i]]&want == 0 {
			return false
		}
	}
	return true
}
