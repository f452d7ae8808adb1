// SPDX-License-Identifier: Apache-2.0

package mesh

import "time"

// HashPolicy is one part of the number that ring hash, Maglev and splits may choose by (Envoy: RouteAction.HashPolicy). One of
// Header, Cookie, Query and SourceIP is set.
type HashPolicy struct {
	Header        string // in lower case
	HeaderRewrite *RegexRewrite
	Cookie        *HashCookie
	Query         string // name of a parameter
	SourceIP      bool
	// Terminal: what comes after it is not looked at, if there is a number by then.
	Terminal bool
}

// HashCookie is a cookie whose value is hashed.
type HashCookie struct {
	Name string
	// Make: a client without the cookie gets one, for TTL in whole seconds (0: for its session), with Path and Attributes.
	Make       bool
	TTL        time.Duration
	Path       string
	Attributes []CookieAttribute
}

// CookieAttribute is one attribute of Set-Cookie; an empty value is left out.
type CookieAttribute struct{ Name, Value string }
