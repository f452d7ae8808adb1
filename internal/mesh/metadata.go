// SPDX-License-Identifier: Apache-2.0

package mesh

// Metadata are values by namespace, as filters leave them at a request and files at a route (Envoy: config.core.v3.Metadata,
// filter_metadata). A value is nil, a bool, float64, string, []any or map[string]any, and immutable.
type Metadata map[string]map[string]any

// SetMetadata leaves values at a request (Envoy: extensions.filters.http.set_metadata.v3.Config).
type SetMetadata struct{ Entries []MetadataEntry }

func (*SetMetadata) filterConfig() {}

// MetadataEntry is one namespace. Overwrite: it is merged with what is there; else it only is for a namespace that is not there.
type MetadataEntry struct {
	Namespace string
	Value     map[string]any
	Overwrite bool
}

// MetadataMatch looks at one value (Envoy: type.matcher.v3.MetadataMatcher).
type MetadataMatch struct {
	Namespace string
	Path      []string // of keys, at least one
	Value     ValueMatch
	Invert    bool
	Route     bool // the route's metadata and not the request's
}

// Matches says whether metadata has what is looked for.
func (m *MetadataMatch) Matches(md Metadata) bool {
	var v any = md[m.Namespace]
	there := md[m.Namespace] != nil
	for _, key := range m.Path {
		fields, ok := v.(map[string]any)
		if v, there = fields[key]; !ok || !there {
			there = false
			break
		}
	}
	return m.Value.matches(v, there) != m.Invert
}

// ValueKind says how a value is compared.
type ValueKind int

const (
	ValueNull    ValueKind = iota
	ValueNumber            // Start <= v < End, or v == Start if they are equal
	ValueText              // Text
	ValueBool              // Bool
	ValuePresent           // it is there, and Bool
	ValueOneOf             // a list, of which a member meets the one of Of
	ValueOr                // one of Of
)

// ValueMatch is Envoy's type.matcher.v3.ValueMatcher. A value that is not there meets nothing.
type ValueMatch struct {
	Kind       ValueKind
	Start, End float64
	Text       *StringMatch
	Bool       bool
	Of         []ValueMatch
}

func (m *ValueMatch) matches(v any, there bool) bool {
	switch m.Kind {
	case ValueNull:
		return there && v == nil
	case ValueNumber:
		n, ok := v.(float64)
		return ok && (n >= m.Start && n < m.End || n == m.Start && m.Start == m.End)
	case ValueText:
		s, ok := v.(string)
		return ok && m.Text.Matches(s)
	case ValueBool:
		b, ok := v.(bool)
		return ok && b == m.Bool
	case ValuePresent:
		return there && m.Bool
	case ValueOneOf:
		list, _ := v.([]any)
		for _, one := range list {
			if m.Of[0].matches(one, true) {
				return true
			}
		}
	case ValueOr:
		for i := range m.Of {
			if m.Of[i].matches(v, there) {
				return true
			}
		}
	}
	return false
}
