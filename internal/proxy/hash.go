// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// hash is the number that the route's hash policies make of the request, for choosing an endpoint; false: they make none
// (Envoy: router.h, computeHashKey). A cookie that it had to make is set by the upstream's answer.
func (x *exchange) hash() (uint64, bool) {
	if x.match.route == nil || x.match.route.Forward == nil {
		return 0, false
	}
	return x.hashBy(x.match.route.Forward.HashPolicy, true)
}

// hashBy combines policies; makeCookie: a cookie that is missing is made if the policy wants that.
func (x *exchange) hashBy(policies []mesh.HashPolicy, makeCookie bool) (uint64, bool) {
	var hash uint64
	there := false
	for i := range policies {
		p := &policies[i]
		if h, ok := x.hashOne(p, makeCookie); ok {
			hash = bits.RotateLeft64(hash, 1) ^ h
			there = true
		}
		if p.Terminal && there {
			break
		}
	}
	return hash, there
}

func (x *exchange) hashOne(p *mesh.HashPolicy, makeCookie bool) (uint64, bool) {
	r := &x.c.req
	switch {
	case p.Header != "":
		return hashHeader(p, r)
	case p.Cookie != nil:
		v, _ := cookie(r, p.Cookie.Name)
		if v == "" && p.Cookie.Make && makeCookie {
			v = x.makeCookie(p.Cookie)
		}
		return xxHash64(v, 0), v != ""
	case p.Query != "":
		_, query, _ := strings.Cut(r.Path, "?")
		v, ok := parameter(query, p.Query)
		return xxHash64(v, 0), ok
	}
	return xxHash64(x.client().Addr().String(), 0), true
}

// hashHeader hashes all values of a field, in an order that does not depend on theirs.
func hashHeader(p *mesh.HashPolicy, r *http1.Request) (uint64, bool) {
	var room [4]string
	values := room[:0]
	if v, ok := pseudo(r, p.Header); ok {
		values = append(values, v)
	} else {
		for i := range r.Header.Fields {
			if f := &r.Header.Fields[i]; f.Name == p.Header {
				values = append(values, f.Value)
			}
		}
	}
	if p.HeaderRewrite != nil {
		for i := range values {
			values[i] = p.HeaderRewrite.Apply(values[i])
		}
	}
	slices.Sort(values)
	var hash uint64
	for _, v := range values {
		hash = xxHash64(v, hash)
	}
	return hash, len(values) > 0
}

// makeCookie gives the client a cookie, the same for all requests of its connection, and returns the value.
func (x *exchange) makeCookie(c *mesh.HashCookie) string {
	value := fmt.Sprintf("%016x", xxHash64(x.client().String()+x.c.to.String(), 0))
	var b strings.Builder
	fmt.Fprintf(&b, `%s="%s"`, c.Name, value)
	if c.TTL > 0 {
		fmt.Fprintf(&b, "; Max-Age=%d", int64(c.TTL.Seconds()))
	}
	if c.Path != "" {
		fmt.Fprintf(&b, "; Path=%s", c.Path)
	}
	for _, a := range c.Attributes {
		b.WriteString("; " + a.Name)
		if a.Value != "" {
			b.WriteString("=" + a.Value)
		}
	}
	b.WriteString("; HttpOnly")
	x.cookies = append(x.cookies, b.String())
	return value
}

// client is where the request comes from.
func (x *exchange) client() netip.AddrPort { return x.c.from }

// addressOf is an end of a TCP connection; IPv4 is never v4-mapped.
func addressOf(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// selection is what the request wants of the balancer.
func (x *exchange) selection(b *balancer) (s selection) {
	if b.hashes {
		s.hash, s.hashed = x.hash()
	}
	return s
}
