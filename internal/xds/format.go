// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
)

// formatUse is where a text with command operators stands.
type formatUse int

const (
	inHeader formatUse = iota // a header operation
	inLog                     // an access log
	inReply                   // the body of a local reply
)

// commandError is a command operator that Envoy knows and leno does not, there.
type commandError struct {
	command string
	use     formatUse
}

func (e *commandError) Error() string {
	if e.use == inHeader {
		return e.command + " is not supported in header operations; docs/formats.md lists what leno accepts (%% stands for %)"
	}
	return e.command + " is not supported; docs/formats.md lists what leno accepts (%% stands for %)"
}

// operandError is a header that leno cannot show as Envoy would.
type operandError struct{ command, header string }

func (e *operandError) Error() string {
	return fmt.Sprintf("%s is not supported: leno does not keep %s where Envoy does; name another header", e.command, e.header)
}

// pseudoOperands are what REQ may name beside fields.
var pseudoOperands = map[string]bool{":method": true, ":path": true, ":scheme": true, ":authority": true}

// notFormatted are fields that belong to one connection or attempt: leno sets or removes them at other moments than Envoy.
var notFormatted = map[string]bool{"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true,
	"upgrade": true, "grpc-timeout": true, "x-envoy-attempt-count": true, "x-envoy-expected-rq-timeout-ms": true,
	"x-envoy-is-timeout-retry": true}

var (
	commandOperator = regexp.MustCompile(`^%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%`)
	headerOperand   = regexp.MustCompile(`^:?[!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+$`)
)

// format reads a text with command operators (Envoy: substitution_formatter.cc, SubstitutionFormatParser). The error is a
// *commandError or *operandError for what only Envoy takes. withoutQuery says that the formatter req_without_query is named.
func format(s string, use formatUse, withoutQuery bool) (mesh.Format, error) {
	var out mesh.Format
	var text strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			i = len(s)
		}
		text.WriteString(s[:i])
		if s = s[i:]; s == "" {
			break
		}
		if strings.HasPrefix(s, "%%") {
			text.WriteByte('%')
			s = s[2:]
			continue
		}
		m := commandOperator.FindStringSubmatch(s)
		if m == nil {
			return nil, fmt.Errorf("%q is not a command operator; write %%%% for %%", s)
		}
		part, err := command(m, use, withoutQuery)
		if err != nil {
			return nil, err
		}
		s = s[len(m[0]):]
		if part.Command == "" {
			text.WriteString(part.Text)
			continue
		}
		if text.Len() > 0 {
			out = append(out, mesh.FormatPart{Text: text.String()})
			text.Reset()
		}
		out = append(out, part)
	}
	if text.Len() > 0 {
		out = append(out, mesh.FormatPart{Text: text.String()})
	}
	return out, nil
}

// operands says what may stand in a command's brackets.
type operands int

const (
	noOperand operands = iota
	mayHaveOperand
	needsOperand
)

// commandSpec is what is known of one command.
type commandSpec struct {
	part     mesh.FormatPart
	operands operands
	length   bool // ":N" may follow
	headers  bool // leno accepts it in header operations
	// formatter: only where the formatter req_without_query is named.
	formatter bool
	// unsupported: Envoy knows it and leno does not.
	unsupported bool
	// read takes the operand into the part; nil: it has none, or one that does not matter.
	read func(part *mesh.FormatPart, operand string) error
}

// command reads one operator; m is what commandOperator found: all of it, name, operand and length. A part without a command is
// a text that is known already.
func command(m []string, use formatUse, withoutQuery bool) (mesh.FormatPart, error) {
	spec, ok := commands[m[1]]
	part := spec.part
	switch {
	case !ok || spec.formatter && !withoutQuery:
		return part, fmt.Errorf("%s is not a command operator of Envoy", m[0])
	case spec.operands == noOperand && m[2] != "":
		return part, fmt.Errorf("%s takes no parameters", m[1])
	case spec.operands == needsOperand && m[2] == "":
		return part, fmt.Errorf("%s requires parameters", m[1])
	case !spec.length && m[3] != "":
		return part, fmt.Errorf("%s takes no length", m[1])
	}
	if spec.unsupported || use == inHeader && !spec.headers {
		return part, &commandError{m[0], use}
	}
	if m[3] != "" {
		n, err := strconv.ParseUint(m[3], 10, 64)
		if err != nil {
			return part, fmt.Errorf("%s: the length is too large", m[0])
		}
		part.Limit, part.MaxLength = true, n
	}
	if spec.read != nil {
		err := spec.read(&part, m[2])
		var known *commandError
		var operand *operandError
		switch {
		case errors.As(err, &known):
		case errors.As(err, &operand):
			operand.command = m[0]
		case err != nil:
			err = fmt.Errorf("%s: %w", m[0], err)
		}
		return part, err
	}
	return part, nil
}
