// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strconv"
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// regex reads an expression; whole: it must match the whole of a text. nil: it is wrong or not supported.
func regex(p *matcherv3.RegexMatcher, whole bool, path string, f *findings) *mesh.Regex {
	path = join(path, "regex")
	for _, e := range escapes(p.GetRegex()) {
		hex, _, _ := strings.Cut(strings.TrimPrefix(e, `\x{`), "}")
		switch n, err := strconv.ParseUint(hex, 16, 32); {
		case e == `\C`:
			f.refused(path, `\C is not supported: write (?s:.)`)
			return nil
		case err == nil && n > 0xff:
			f.invalid(path, "%s: an expression is over bytes, none is greater than ff", e)
			return nil
		}
	}
	r, err := mesh.CompileRegex(p.GetRegex(), whole)
	if err != nil {
		f.invalid(path, "%v", err)
	}
	return r
}

// regexRewrite reads what is put in the place of matches; nil: none, or it is wrong.
func regexRewrite(p *matcherv3.RegexMatchAndSubstitute, path string, f *findings) *mesh.RegexRewrite {
	if p == nil {
		return nil
	}
	r := regex(p.GetPattern(), false, join(path, "pattern"), f)
	if r == nil {
		return nil
	}
	rw, err := mesh.NewRegexRewrite(r, p.GetSubstitution())
	if err != nil {
		f.refused(join(path, "substitution"), "%v", err)
	}
	return rw
}

// escapes lists \C and \x{...} of an expression, which Go's package and RE2 over bytes take differently.
func escapes(expr string) []string {
	var found []string
	for {
		i := strings.IndexByte(expr, '\\')
		if i < 0 || i+1 == len(expr) {
			return found
		}
		expr = expr[i:]
		n := 2
		switch {
		case expr[1] == 'C':
			found = append(found, expr[:2])
		case strings.HasPrefix(expr, `\x{`):
			if end := strings.IndexByte(expr, '}'); end > 0 {
				n = end + 1
				found = append(found, expr[:n])
			}
		case expr[1] == 'Q':
			if end := strings.Index(expr, `\E`); end > 0 {
				n = end
			}
		}
		expr = expr[n:]
	}
}
