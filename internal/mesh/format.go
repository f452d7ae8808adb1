// SPDX-License-Identifier: Apache-2.0

package mesh

// Command is the name of a command operator, as Envoy writes it between per cent signs.
type Command string

// The commands that leno knows (Envoy: configuration/observability/access_log/usage, "Command operators").
const (
	CommandRequestHeader       Command = "REQ"
	CommandResponseHeader      Command = "RESP"
	CommandProtocol            Command = "PROTOCOL"
	CommandRouteName           Command = "ROUTE_NAME"
	CommandRemoteAddress       Command = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
	CommandDirectRemoteAddress Command = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"
)

// Format is a text with command operators, in order (Envoy: substitution format string).
type Format []FormatPart

// FormatPart is a fixed text, or a command.
type FormatPart struct {
	Text    string  // if Command is empty
	Command Command // empty: none
	// Header is looked at by REQ and RESP, and Alternative if there is none of that name; lower case, empty: none.
	Header, Alternative string
	// Limit cuts the value to MaxLength bytes.
	Limit     bool
	MaxLength uint64
}
