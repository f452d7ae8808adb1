// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"errors"
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

// NewRegexRewrite takes a substitution in RE2's form: \0 to \9 are groups, \\ a backslash.
func NewRegexRewrite(pattern *Regex, substitution string) (*RegexRewrite, error) {
	groups := pattern.re.NumSubexp()
	var b strings.Builder
	for i := 0; i < len(substitution); i++ {
		switch c := substitution[i]; {
		case c == '$':
			b.WriteString("$$")
		case c != '\\':
			b.WriteByte(c)
		case i+1 == len(substitution):
			return nil, errors.New(`a \ at the end means nothing; write \\ for one`)
		case substitution[i+1] == '\\':
			b.WriteByte('\\')
			i++
		case substitution[i+1] >= '0' && substitution[i+1] <= '9':
			i++
			n := int(substitution[i] - '0')
			if n > groups {
				return nil, fmt.Errorf(`\%d: the expression has %d groups`, n, groups)
			}
			fmt.Fprintf(&b, "${%d}", n)
		default:
			return nil, fmt.Errorf(`%q means nothing; write \\ for \`, substitution[i:i+2])
		}
	}
	return &RegexRewrite{pattern, widen(b.String())}, nil
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
