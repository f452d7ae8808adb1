// SPDX-License-Identifier: Apache-2.0

package mesh

import "time"

// Command is the name of a command operator, as Envoy writes it between per cent signs.
type Command string

// The commands that leno knows (Envoy: configuration/observability/access_log/usage, "Command operators").
const (
	CommandRequestHeader       Command = "REQ"
	CommandRequestWithoutQuery Command = "REQ_WITHOUT_QUERY"
	CommandResponseHeader      Command = "RESP"
	CommandProtocol            Command = "PROTOCOL"
	CommandRouteName           Command = "ROUTE_NAME"
	CommandStreamID            Command = "STREAM_ID"
	CommandUniqueID            Command = "UNIQUE_ID"
	CommandConnectionID        Command = "CONNECTION_ID"
	CommandFilterChainName     Command = "FILTER_CHAIN_NAME"
	CommandRequestedServerName Command = "REQUESTED_SERVER_NAME"
	CommandHostname            Command = "HOSTNAME"
	CommandAccessLogType       Command = "ACCESS_LOG_TYPE"
	CommandLocalReplyBody      Command = "LOCAL_REPLY_BODY"

	CommandResponseCode        Command = "RESPONSE_CODE"
	CommandResponseCodeDetails Command = "RESPONSE_CODE_DETAILS"
	CommandTerminationDetails  Command = "CONNECTION_TERMINATION_DETAILS"
	CommandResponseFlags       Command = "RESPONSE_FLAGS"
	CommandResponseFlagsLong   Command = "RESPONSE_FLAGS_LONG"
	CommandBytesReceived       Command = "BYTES_RECEIVED"
	CommandBytesSent           Command = "BYTES_SENT"
	CommandGRPCStatus          Command = "GRPC_STATUS"
	CommandGRPCStatusNumber    Command = "GRPC_STATUS_NUMBER"

	CommandStartTime      Command = "START_TIME"
	CommandStartTimeLocal Command = "START_TIME_LOCAL"
	CommandEmitTime       Command = "EMIT_TIME"
	CommandEmitTimeLocal  Command = "EMIT_TIME_LOCAL"
	// CommandDuration is COMMON_DURATION and what is short for one of its kinds, such as DURATION.
	CommandDuration Command = "COMMON_DURATION"

	// Addresses; FormatPart.Address says what of them.
	CommandRemoteAddress         Command = "DOWNSTREAM_REMOTE_ADDRESS"
	CommandDirectRemoteAddress   Command = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS"
	CommandLocalAddress          Command = "DOWNSTREAM_LOCAL_ADDRESS"
	CommandDirectLocalAddress    Command = "DOWNSTREAM_DIRECT_LOCAL_ADDRESS"
	CommandUpstreamHost          Command = "UPSTREAM_HOST"
	CommandUpstreamLocalAddress  Command = "UPSTREAM_LOCAL_ADDRESS"
	CommandUpstreamRemoteAddress Command = "UPSTREAM_REMOTE_ADDRESS"

	CommandUpstreamHostName     Command = "UPSTREAM_HOST_NAME"
	CommandUpstreamCluster      Command = "UPSTREAM_CLUSTER"
	CommandUpstreamProtocol     Command = "UPSTREAM_PROTOCOL"
	CommandUpstreamConnectionID Command = "UPSTREAM_CONNECTION_ID"
	CommandAttemptCount         Command = "UPSTREAM_REQUEST_ATTEMPT_COUNT"
	CommandUpstreamFailure      Command = "UPSTREAM_TRANSPORT_FAILURE_REASON"
	// CommandAbsent stands for all that has no value where there are neither TLS nor traces nor trailers.
	CommandAbsent Command = "(absent)"
)

// AddressPart says what of an address is shown.
type AddressPart int

const (
	WholeAddress AddressPart = iota
	AddressWithoutPort
	PortOnly
)

// TimePoint is a moment in the life of a request or connection (Envoy: COMMON_DURATION).
type TimePoint int

const (
	DownstreamFirstReceived TimePoint = iota // DS_RX_BEG
	DownstreamLastReceived                   // DS_RX_END
	UpstreamConnectBegin                     // US_CX_BEG
	UpstreamConnectEnd                       // US_CX_END
	UpstreamFirstSent                        // US_TX_BEG
	UpstreamLastSent                         // US_TX_END
	UpstreamFirstReceived                    // US_RX_BEG
	UpstreamLastReceived                     // US_RX_END
	DownstreamFirstSent                      // DS_TX_BEG
	DownstreamLastSent                       // DS_TX_END
	Completed                                // the end of it all, for DURATION
	NoTimePoint                              // one that never comes: US_HS_END without TLS, and names that nobody sets
	TimePoints              = int(NoTimePoint)
)

// Format is a text with command operators, in order (Envoy: substitution format string).
type Format []FormatPart

// FormatPart is a fixed text, or a command.
type FormatPart struct {
	Text    string  // if Command is empty
	Command Command // empty: none
	// Header is looked at by REQ and RESP, and Alternative if there is none of that name; lower case, empty: none.
	Header, Alternative string
	// Layout of a time, in the words of strftime and of Envoy's date_formatter; empty: Envoy's default.
	Layout string
	// Address says what of an address is shown, and of UPSTREAM_HOST_NAME whether its port is.
	Address AddressPart
	// From, To and Unit are of COMMON_DURATION.
	From, To TimePoint
	Unit     time.Duration
	// Spaces keeps the blanks of RESPONSE_CODE_DETAILS.
	Spaces bool
	// Style of GRPC_STATUS: "", "SNAKE_STRING" or "NUMBER".
	Style string
	// Limit cuts the value to MaxLength bytes.
	Limit     bool
	MaxLength uint64
}
