// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
)

// commandError is a command operator that Envoy may know and leno does not.
type commandError struct{ command string }

func (e *commandError) Error() string {
	return fmt.Sprintf("%s is not supported: leno accepts REQ, RESP, PROTOCOL, ROUTE_NAME, DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT and "+
		"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT (%%%% stands for %%)", e.command)
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
// *commandError or *operandError for what only Envoy takes.
func format(s string) (mesh.Format, error) {
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
		part, err := command(m)
		if err != nil {
			return nil, err
		}
		if text.Len() > 0 {
			out = append(out, mesh.FormatPart{Text: text.String()})
			text.Reset()
		}
		out = append(out, part)
		s = s[len(m[0]):]
	}
	if text.Len() > 0 {
		out = append(out, mesh.FormatPart{Text: text.String()})
	}
	return out, nil
}

// command reads one operator; m is what commandOperator found: all of it, name, operand and length.
func command(m []string) (mesh.FormatPart, error) {
	part := mesh.FormatPart{Command: mesh.Command(m[1])}
	switch part.Command {
	case mesh.CommandRequestHeader, mesh.CommandResponseHeader:
	case mesh.CommandProtocol, mesh.CommandRouteName, mesh.CommandRemoteAddress, mesh.CommandDirectRemoteAddress:
		if m[2] != "" || m[3] != "" {
			return part, fmt.Errorf("%s takes neither parameters nor a length", m[1])
		}
		return part, nil
	default:
		return part, &commandError{m[0]}
	}
	names := strings.Split(m[2], "?")
	if len(names) > 2 {
		return part, fmt.Errorf("%s has more than one alternative", m[0])
	}
	for _, n := range names {
		// Beside a "?" Envoy takes an empty name, which no field has.
		if !(n == "" && len(names) == 2) && !headerOperand.MatchString(n) {
			return part, fmt.Errorf("%s: %q is not the name of a header", m[0], n)
		}
	}
	for _, n := range names {
		n = strings.ToLower(n)
		if notFormatted[n] || strings.HasPrefix(n, ":") && (part.Command != mesh.CommandRequestHeader || !pseudoOperands[n]) {
			return part, &operandError{m[0], n}
		}
	}
	part.Header = strings.ToLower(names[0])
	if len(names) == 2 {
		part.Alternative = strings.ToLower(names[1])
	}
	if m[3] != "" {
		n, err := strconv.ParseUint(m[3], 10, 64)
		if err != nil {
			return part, fmt.Errorf("%s: the length is too large", m[0])
		}
		part.Limit, part.MaxLength = true, n
	}
	return part, nil
}
