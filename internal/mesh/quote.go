// SPDX-License-Identifier: Apache-2.0

package mesh

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// AppendQuoted writes a JSON string (RFC 8259). In one that is not UTF-8 every byte that is not plain printable ASCII is an escape
// (Envoy: json_sanitizer.cc).
func AppendQuoted[T string | []byte](b []byte, v T) []byte {
	b = append(b, '"')
	valid := utf8.ValidString(string(v))
	for i := range len(v) {
		switch c := v[i]; {
		case !valid && (c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf), c == 0x7f:
			b = appendEscape(b, c)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c < ' ':
			b = appendEscape(b, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
