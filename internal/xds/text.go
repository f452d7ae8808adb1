// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds one file: beyond it, reading it costs more memory than a data plane should take.
const maxFile = 64 << 20

// textError is a file that is not readable as YAML or JSON, or not readable at all.
type textError struct {
	line int // 1-based; 0: unknown
	msg  string
}

func (e *textError) Error() string { return e.msg }

// readRegular reads a file that may be replaced at any time. Anything else could block for ever.
func readRegular(path string) ([]byte, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, &textError{msg: "is not a regular file"}
	}
	return readFile(path)
}

// readFile returns the bytes of a file or pipe.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &textError{msg: fmt.Sprintf("cannot be read: %v", errors.Unwrap(err))}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, &textError{msg: fmt.Sprintf("cannot be read: %v", err)}
	}
	if len(data) > maxFile {
		return nil, &textError{msg: fmt.Sprintf("is larger than %d MiB; split it into several discovery files", maxFile>>20)}
	}
	return data, nil
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// parseText reads one YAML or JSON document; the nodes keep their lines.
func parseText(data []byte) (root *yaml.Node, err error) {
	// The YAML library may panic on what its scanner does not foresee; a file must never end the agent.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, &textError{msg: fmt.Sprintf("is not YAML or JSON: %v", r)}
		}
	}()
	if !utf8.Valid(data) {
		return nil, &textError{line: lineOfInvalidUTF8(data), msg: "is not valid UTF-8"}
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, &textError{msg: "is empty"}
	} else if err != nil {
		return nil, yamlError(err)
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		return nil, &textError{line: second.Line, msg: "holds a second YAML document (after ---); only one is read"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, &textError{msg: "is empty"}
	}
	return doc.Content[0], nil
}

func yamlError(err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &textError{}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		e.line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
	}
	e.msg = "is not YAML or JSON: " + msg
	return e
}

func lineOfInvalidUTF8(data []byte) int {
	line := 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			return line
		}
		if r == '\n' {
			line++
		}
		data = data[n:]
	}
	return 0
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// child returns the value of a key of a mapping, by its proto or its JSON name; nil if there is none.
func child(n *yaml.Node, name string) *yaml.Node {
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i].Value; k == name || snake(k) == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// snake turns a JSON name (lbEndpoints) into the proto's (lb_endpoints).
func snake(s string) string {
	if strings.ToLower(s) == s {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// lineOf finds the line of a proto path below n; where the path leaves the text, the last line known is given.
func lineOf(n *yaml.Node, path string) int {
	line := 0
	for n = resolve(n); n != nil; n = resolve(n) {
		if n.Line > 0 {
			line = n.Line
		}
		if path == "" {
			break
		}
		var name string
		name, path = splitPath(path)
		if strings.HasPrefix(name, "[") {
			n = element(n, name)
			continue
		}
		if k := keyLine(n, name); k > 0 {
			line = k
		}
		n = child(n, name)
	}
	return line
}

// splitPath takes the first step off a path: a name, or an index or map key in brackets.
func splitPath(path string) (step, rest string) {
	if strings.HasPrefix(path, "[") {
		i := strings.IndexByte(path, ']') + 1
		if i == 0 {
			return path, ""
		}
		return path[:i], strings.TrimPrefix(path[i:], ".")
	}
	i := strings.IndexAny(path, ".[")
	if i < 0 {
		return path, ""
	}
	return path[:i], strings.TrimPrefix(path[i:], ".")
}

func element(n *yaml.Node, step string) *yaml.Node {
	key := strings.TrimSuffix(step[1:], "]")
	if n.Kind == yaml.SequenceNode {
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
		return nil
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == strings.Trim(key, `"`) {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

func keyLine(n *yaml.Node, name string) int {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if k := n.Content[i].Value; k == name || snake(k) == name {
				return n.Content[i].Line
			}
		}
	}
	return 0
}

func emptyMapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }
