// SPDX-License-Identifier: Apache-2.0

package mesh

import "strings"

// Matches compares a text. StringPresent matches every one.
func (m *StringMatch) Matches(v string) bool {
	n := len(m.Value)
	switch m.Kind {
	case StringExact:
		return len(v) == n && m.equal(v)
	case StringPrefix:
		return len(v) >= n && m.equal(v[:n])
	case StringSuffix:
		return len(v) >= n && m.equal(v[len(v)-n:])
	case StringContains:
		if m.IgnoreCase {
			return strings.Contains(strings.ToLower(v), strings.ToLower(m.Value))
		}
		return strings.Contains(v, m.Value)
	case StringRegex:
		return m.Regex.Match(v)
	}
	return true
}

func (m *StringMatch) equal(v string) bool {
	return v == m.Value || m.IgnoreCase && strings.EqualFold(v, m.Value)
}
