// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"fmt"
	"regexp"
	"strings"
)

// Regex is an expression of RE2 over bytes: each is one character of Latin-1, as Envoy sets the library. Go's package has
// RE2's syntax, choice among matches and cost, and knows only UTF-8, so what is not ASCII is turned into that and back.
type Regex struct{ re *regexp.Regexp }

// CompileRegex reads an expression; whole: it must match the whole of a text. Errors say what is wrong with it.
func CompileRegex(expr string, whole bool) (*Regex, error) {
	expr = widen(expr)
	re, err := regexp.Compile(expr)
	if err == nil && whole {
		re, err = regexp.Compile(`\A(?:` + expr + `)\z`)
	}
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return &Regex{re}, nil
}

// Match says whether s holds a match.
func (r *Regex) Match(s string) bool { return r.re.MatchString(widen(s)) }

// MarshalText is the expression, for dumps.
func (r *Regex) MarshalText() ([]byte, error) { return r.re.MarshalText() }

// RegexRewrite is Envoy's RegexMatchAndSubstitute.
type RegexRewrite struct {
	Pattern *Regex
	// Substitution in Go's form: ${1} is the first group, $$ a dollar sign; not ASCII as Pattern's.
	Substitution string
}

// Apply replaces every match in s.
func (r *RegexRewrite) Apply(s string) string {
	return narrow(r.Pattern.re.ReplaceAllString(widen(s), r.Substitution))
}

// widen makes a character of each byte.
func widen(s string) string {
	if ascii(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// narrow takes widen back.
func narrow(s string) string {
	if ascii(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
