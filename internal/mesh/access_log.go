// SPDX-License-Identifier: Apache-2.0

package mesh

// AccessLog writes a line for each request or connection that its filter takes (Envoy: config.accesslog.v3.AccessLog with
// envoy.access_loggers.file, .stdout or .stderr).
type AccessLog struct {
	// Path of the file; "/dev/stdout" and "/dev/stderr" are the agent's own.
	Path   string
	Filter *LogFilter // nil: all
	Line   LogLine
}

// LogLine is how something is told: a text, or a JSON object on one line.
type LogLine struct {
	Text Format
	JSON *JSONValue // an object; nil: Text counts
	// OmitEmpty shows a command without value as nothing instead of "-".
	OmitEmpty bool
}

// JSONValue is one value of a JSON line. Exactly one field is set, but for an empty object or list.
type JSONValue struct {
	Raw    string // the text of a constant
	Format Format // a single command keeps its type (a number, or null), else it is a string
	List   []JSONValue
	// Object has its members in the order of their names.
	Object   []JSONMember
	IsObject bool
}

// JSONMember is one member of an object; Name is quoted already.
type JSONMember struct {
	Name  string
	Value JSONValue
}

// LogFilter says which requests are logged. Exactly one field is set.
type LogFilter struct {
	And, Or        []LogFilter
	Status         *Comparison // of the answer; 0: there was none
	Duration       *Comparison // in milliseconds
	NotHealthCheck bool
	Sample         *LogSample
	Header         *HeaderMatch
	GRPC           *GRPCStatuses
	// Flags are short names of response flags, of which one must be set; AnyFlag takes any.
	Flags   []string
	AnyFlag bool
}

// GRPCStatuses takes what ends with one of the codes, or with another one. An answer that names none has the code that belongs to
// its status of HTTP, and no answer has UNKNOWN.
type GRPCStatuses struct {
	Codes   []int64
	Exclude bool
}

// ComparisonOp is Envoy's ComparisonFilter.Op.
type ComparisonOp int

const (
	Equal ComparisonOp = iota
	GreaterOrEqual
	LessOrEqual
	NotEqual
)

// Comparison compares a number with Value.
type Comparison struct {
	Op    ComparisonOp
	Value uint32
}

// Holds says whether n compares so.
func (c *Comparison) Holds(n uint64) bool {
	switch v := uint64(c.Value); c.Op {
	case GreaterOrEqual:
		return n >= v
	case LessOrEqual:
		return n <= v
	case NotEqual:
		return n != v
	default:
		return n == v
	}
}

// LogSample takes a share of the requests: told by their request id, so that all hops take the same ones, or by chance.
type LogSample struct {
	Fraction
	Independent bool // by chance, whatever the id
}
