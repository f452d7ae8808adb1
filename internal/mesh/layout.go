// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"strconv"
	"strings"
	"time"
)

// The layouts of times are strftime's, as absl::FormatTime reads them, with %f and %s as Envoy's DateFormatter has them: %3f is
// the first three digits below the second, %s the seconds since 1970 and %3s those with three digits more.

// plainSpecifiers are written by time.Format.
var plainSpecifiers = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'y': "06",
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'p': "PM", 'Z': "MST", 'z': "-0700", 'j': "002", 'e': "_2",
	'T': "15:04:05", 'F': "2006-01-02", 'D': "01/02/06", 'R': "15:04"}

// LayoutSpecifier returns the length of the specifier that s begins with, its per cent sign included; 0: leno does not know it.
func LayoutSpecifier(s string) int {
	switch {
	case len(s) < 2:
		return 0
	case s[1] == '%', s[1] == 'f', s[1] == 's', plainSpecifiers[s[1]] != "":
		return 2
	case len(s) > 2 && s[1] >= '1' && s[1] <= '9' && (s[2] == 'f' || s[2] == 's'):
		return 3
	case len(s) > 3 && s[1] == 'E' && s[2] >= '1' && s[2] <= '9' && s[3] == 'S':
		return 4
	case strings.HasPrefix(s, "%Ez"):
		return 3
	}
	return 0
}

// AppendTime writes t, whose location counts, in a layout that has only specifiers known to LayoutSpecifier.
func AppendTime(b []byte, t time.Time, layout string) []byte {
	for layout != "" {
		i := strings.IndexByte(layout, '%')
		if i < 0 {
			i = len(layout)
		}
		b = append(b, layout[:i]...)
		if layout = layout[i:]; layout == "" {
			break
		}
		n := LayoutSpecifier(layout)
		if n == 0 {
			n = 1 // nobody decodes such a layout
		}
		b = appendSpecified(b, t, layout[:n])
		layout = layout[n:]
	}
	return b
}

func appendSpecified(b []byte, t time.Time, s string) []byte {
	digits := 0
	if c := s[len(s)-2]; c >= '1' && c <= '9' {
		digits = int(c - '0')
	}
	switch last := s[len(s)-1]; {
	case last == '%':
		return append(b, '%')
	case last == 'f':
		if digits == 0 {
			digits = 9
		}
		return appendFraction(b, t, digits)
	case last == 's':
		return appendFraction(strconv.AppendInt(b, t.Unix(), 10), t, digits)
	case last == 'S' && len(s) == 4:
		return appendFraction(append(t.AppendFormat(b, "05"), '.'), t, digits)
	case s == "%Ez":
		return t.AppendFormat(b, "-07:00")
	default:
		return t.AppendFormat(b, plainSpecifiers[last])
	}
}

// appendFraction writes the first digits below the second.
func appendFraction(b []byte, t time.Time, digits int) []byte {
	for n, unit := t.Nanosecond(), 100_000_000; digits > 0; digits, unit = digits-1, unit/10 {
		b = append(b, '0'+byte(n/unit%10))
	}
	return b
}
