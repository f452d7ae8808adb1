// SPDX-License-Identifier: Apache-2.0

package generate

import (
	"fmt"
	"strings"
)

// Raw returns n steps whose requests a parser may read in more than one way, each on a connection of its own. The data plane
// must end connections that wait for more by itself, and must not pass on what it has not read to its end.
func (g *Generator) Raw(n int) string {
	var b strings.Builder
	for i := range n {
		text, answers := g.raw(), 1
		if g.chance(3) {
			text, answers = text+`GET /second HTTP/1.1\r\nhost: a.test\r\n\r\n`, 2
		}
		fmt.Fprintf(&b, "== %d: raw answers=%d fresh\n%s\n", i, answers, text)
	}
	return b.String()
}

// often is common most of the time, else one of the rest.
func often(g *Generator, common string, rest ...string) string {
	if !g.chance(6) {
		return common
	}
	return one(g, rest...)
}

func (g *Generator) raw() string {
	var b strings.Builder
	end := func() { b.WriteString(often(g, `\r\n`, `\r\n`, `\n`, `\n`, `\r\r\n`)) }
	b.WriteString(often(g, one(g, "POST", "GET", "PUT", "HEAD"), "post", "DELETE", "FOO", "GET ", "", "OPTIONS", `P\0ST`))
	b.WriteString(often(g, " ", "  ", ""))
	b.WriteString(often(g, "/", "/a?b", "*", "http://b.test/x", "http://b.test", "/%00", `/\xff`, "", "a", "//", "/#x", "https://u@b.test:1/", `/\t`))
	b.WriteString(often(g, " ", "  ", `\t`))
	b.WriteString(often(g, "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1", "HTTP/2.0", "", "HTTP/1.1 ", "HTTP/1.1x"))
	b.WriteString(often(g, `\r\n`, `\n`)) // docs/DIFFERENCES.md has other ends
	chunked := g.bool()
	field := func(name, value string) {
		b.WriteString(often(g, name, strings.ToUpper(name), name+" ", " "+name, `\t`+name, name+`\0`, name[:1]))
		b.WriteString(often(g, ": ", ":", `:\t`, "", `:\r\n `, ":  "))
		b.WriteString(often(g, value, value+" ", value+`\t`, value+`\0`, value+`\xff`, value+","+value, value+`\r\n `+value, ""))
		end()
	}
	if !g.chance(12) {
		field("host", "a.test")
	}
	if g.chance(4) {
		field(one(g, "x-a", "host", "connection", "expect", "te", "upgrade", "trailer", "content-type", "keep-alive"), one(g, "b", "close", "keep-alive", "content-length", "100-continue", "trailers"))
	}
	switch {
	case chunked:
		field("transfer-encoding", often(g, "chunked", "identity", "gzip, chunked", "chunked, chunked", "Chunked", "x"))
		if g.chance(6) {
			field("content-length", one(g, "3", "0", "5"))
		}
	case !g.chance(4):
		field("content-length", often(g, "3", "0", "03", "+3", "-1", "3a", "0x3", "18446744073709551616"))
		if g.chance(6) {
			field("content-length", one(g, "3", "4"))
		}
	}
	b.WriteString(often(g, `\r\n`, `\n`, ``, `\r`))
	switch {
	case chunked:
		size := often(g, "3", "03", "3;a=b", "3 ", " 3", "0x3", "-3", "+3", `3\t`, "3;", "", "ffffffffffffffff", `3\0`)
		b.WriteString(size + often(g, `\r\n`, `\n`) + "abc" + often(g, `\r\n`, `\n`, "", "x") + often(g, "0", "00", "0;x", "") + often(g, `\r\n`, `\n`))
		b.WriteString(often(g, "", `x-t: 1\r\n`, `x-t\r\n`, `content-length: 3\r\n`, `x-t: 1\n`))
		b.WriteString(often(g, `\r\n`, `\n`, ""))
	case !g.chance(4):
		b.WriteString("abc")
	}
	return b.String()
}
