// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// commands are the command operators that leno expands, by Envoy's name (Envoy: stream_info_formatter.cc and
// http_specific_formatter.cc; docs/formats.md shows them).
var commands = allCommands()

func allCommands() map[string]commandSpec {
	plain := func(c mesh.Command) commandSpec { return commandSpec{part: mesh.FormatPart{Command: c}} }
	all := map[string]commandSpec{
		"REQ": {part: mesh.FormatPart{Command: mesh.CommandRequestHeader}, operands: needsOperand, length: true, read: headerNames},
		"REQ_WITHOUT_QUERY": {part: mesh.FormatPart{Command: mesh.CommandRequestWithoutQuery}, operands: needsOperand, length: true,
			formatter: true, read: headerNames},
		"RESP":    {part: mesh.FormatPart{Command: mesh.CommandResponseHeader}, operands: needsOperand, length: true, read: headerNames},
		"PATH":    {operands: mayHaveOperand, length: true, read: pathOf},
		"TRAILER": {part: mesh.FormatPart{Command: mesh.CommandAbsent}, operands: needsOperand, length: true, read: headerNames},

		"START_TIME":       {part: mesh.FormatPart{Command: mesh.CommandStartTime}, operands: mayHaveOperand, read: timeLayout},
		"START_TIME_LOCAL": {part: mesh.FormatPart{Command: mesh.CommandStartTimeLocal}, operands: mayHaveOperand, read: timeLayout},
		"EMIT_TIME":        {part: mesh.FormatPart{Command: mesh.CommandEmitTime}, operands: mayHaveOperand, read: timeLayout},
		"EMIT_TIME_LOCAL":  {part: mesh.FormatPart{Command: mesh.CommandEmitTimeLocal}, operands: mayHaveOperand, read: timeLayout},

		"COMMON_DURATION":      {part: mesh.FormatPart{Command: mesh.CommandDuration}, operands: needsOperand, read: commonDuration},
		"DURATION":             between(mesh.DownstreamFirstReceived, mesh.Completed),
		"REQUEST_DURATION":     between(mesh.DownstreamFirstReceived, mesh.DownstreamLastReceived),
		"REQUEST_TX_DURATION":  between(mesh.DownstreamFirstReceived, mesh.UpstreamLastSent),
		"RESPONSE_DURATION":    between(mesh.DownstreamFirstReceived, mesh.UpstreamFirstReceived),
		"RESPONSE_TX_DURATION": between(mesh.UpstreamFirstReceived, mesh.DownstreamLastSent),

		"RESPONSE_CODE_DETAILS": {part: mesh.FormatPart{Command: mesh.CommandResponseCodeDetails}, operands: mayHaveOperand,
			read: func(p *mesh.FormatPart, operand string) error { p.Spaces = operand == "ALLOW_WHITESPACES"; return nil }},
		"GRPC_STATUS": {part: mesh.FormatPart{Command: mesh.CommandGRPCStatus}, operands: mayHaveOperand, read: grpcStyle},
		"ENVIRONMENT": {operands: needsOperand, length: true, read: environment},

		"UPSTREAM_CLUSTER_RAW":            plain(mesh.CommandUpstreamCluster),
		"UPSTREAM_HOST":                   plain(mesh.CommandUpstreamHost),
		"UPSTREAM_HOST_NAME_WITHOUT_PORT": {part: mesh.FormatPart{Command: mesh.CommandUpstreamHostName, Address: mesh.AddressWithoutPort}},
	}
	for _, c := range []mesh.Command{mesh.CommandConnectionID, mesh.CommandFilterChainName, mesh.CommandRequestedServerName,
		mesh.CommandHostname, mesh.CommandAccessLogType, mesh.CommandLocalReplyBody, mesh.CommandResponseCode, mesh.CommandTerminationDetails,
		mesh.CommandResponseFlags, mesh.CommandResponseFlagsLong, mesh.CommandBytesReceived, mesh.CommandBytesSent,
		mesh.CommandGRPCStatusNumber, mesh.CommandUpstreamHostName, mesh.CommandUpstreamCluster,
		mesh.CommandUpstreamConnectionID, mesh.CommandAttemptCount, mesh.CommandUpstreamFailure, mesh.CommandUniqueID, mesh.CommandStreamID,
		mesh.CommandUpstreamProtocol, mesh.CommandProtocol, mesh.CommandRouteName} {
		all[string(c)] = plain(c)
	}
	for _, c := range []mesh.Command{mesh.CommandRemoteAddress, mesh.CommandDirectRemoteAddress, mesh.CommandLocalAddress,
		mesh.CommandDirectLocalAddress, mesh.CommandUpstreamLocalAddress, mesh.CommandUpstreamRemoteAddress} {
		all[string(c)] = plain(c)
		all[string(c)+"_WITHOUT_PORT"] = commandSpec{part: mesh.FormatPart{Command: c, Address: mesh.AddressWithoutPort}}
		all[strings.TrimSuffix(string(c), "ADDRESS")+"PORT"] = commandSpec{part: mesh.FormatPart{Command: c, Address: mesh.PortOnly}}
	}
	for _, name := range strings.Fields(absent) {
		all[name] = plain(mesh.CommandAbsent)
	}
	for _, name := range strings.Fields(absentTimes) {
		all[name] = commandSpec{part: mesh.FormatPart{Command: mesh.CommandAbsent}, operands: mayHaveOperand}
	}
	for _, name := range strings.Fields(inHeadersToo) {
		spec := all[name]
		spec.headers = true
		all[name] = spec
	}
	for operands, names := range unsupported {
		for _, name := range strings.Fields(names) {
			all[name] = commandSpec{operands: operands, length: true, unsupported: true}
		}
	}
	return all
}

// inHeadersToo are commands whose value is the same for Envoy when headers are changed.
const inHeadersToo = `REQ RESP TRAILER PROTOCOL ROUTE_NAME STREAM_ID UNIQUE_ID FILTER_CHAIN_NAME REQUESTED_SERVER_NAME HOSTNAME ENVIRONMENT
	START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_FLAGS RESPONSE_FLAGS_LONG
	UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT
	UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT
	UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_PORT
	DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT
	DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT
	DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT
	DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_LOCAL_PORT ` + absent + ` ` + absentTimes

// absent are commands without a value where there is neither TLS nor a trace.
const absent = `DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_IP_SAN
	DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT
	DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN
	DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN
	DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN
	DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON
	TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_URI_SAN
	UPSTREAM_PEER_CERT UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_URI_SAN
	UPSTREAM_TLS_CIPHER UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION`

// absentTimes are those that may name a format.
const absentTimes = `DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_CERT_V_END`

// unsupported are commands that Envoy 1.40 knows and leno does not, by what may stand in their brackets.
var unsupported = map[operands]string{
	noOperand: `CUSTOM_FLAGS DOWNSTREAM_CX_RTT DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
		DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_HEADER_BYTES_RECEIVED
		DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_LOCAL_CLOSE_REASON
		DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_TLS_GROUP DOWNSTREAM_WIRE_BYTES_RECEIVED
		DOWNSTREAM_WIRE_BYTES_SENT REQUEST_HEADERS_BYTES RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES SPAN_ID
		UPSTREAM_CONNECTION_IDS_ATTEMPTED UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED
		UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT UPSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT
		UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAMES_ATTEMPTED
		UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_LOCAL_CLOSE_REASON UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID UPSTREAM_SERVER_NAME
		UPSTREAM_TLS_GROUP UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME`,
	mayHaveOperand: `QUERY_PARAMS`,
	needsOperand: `CEL CLUSTER_METADATA COALESCE DYNAMIC_METADATA FILTER_STATE METADATA QUERY_PARAM REQUEST_HEADER UPSTREAM_FILTER_STATE
		UPSTREAM_METADATA`,
}

// between is a command that stands for a kind of COMMON_DURATION.
func between(from, to mesh.TimePoint) commandSpec {
	return commandSpec{part: mesh.FormatPart{Command: mesh.CommandDuration, From: from, To: to, Unit: time.Millisecond}}
}

// headerNames reads a header's name and perhaps an alternative.
func headerNames(part *mesh.FormatPart, operand string) error {
	names := strings.Split(operand, "?")
	if len(names) > 2 {
		return errors.New("more than one alternative")
	}
	for _, n := range names {
		// Beside a "?" Envoy takes an empty name, which no field has.
		if !(n == "" && len(names) == 2) && !headerOperand.MatchString(n) {
			return fmt.Errorf("%q is not the name of a header", n)
		}
	}
	for _, n := range names {
		n = strings.ToLower(n)
		ofRequest := part.Command == mesh.CommandRequestHeader || part.Command == mesh.CommandRequestWithoutQuery
		if notFormatted[n] || strings.HasPrefix(n, ":") && (!ofRequest || !pseudoOperands[n]) {
			return &operandError{header: n}
		}
	}
	part.Header = strings.ToLower(names[0])
	if len(names) == 2 {
		part.Alternative = strings.ToLower(names[1])
	}
	return nil
}

// pathOf reads which path is meant, and whether its query is: it is a header of the request in any case.
func pathOf(part *mesh.FormatPart, operand string) error {
	part.Command = mesh.CommandRequestHeader
	words := append(strings.Split(operand, ":"), "") // Envoy does not mind more of them
	query, which := words[0], words[1]
	switch query {
	case "NQ":
		part.Command = mesh.CommandRequestWithoutQuery
	case "", "WQ":
	default:
		return fmt.Errorf("%q must be WQ or NQ", query)
	}
	switch which {
	case "ORIG":
		part.Header = "x-envoy-original-path"
	case "PATH":
		part.Header = ":path"
	case "", "ORIG_OR_PATH":
		part.Header, part.Alternative = "x-envoy-original-path", ":path"
	default:
		return fmt.Errorf("%q must be ORIG, PATH or ORIG_OR_PATH", which)
	}
	return nil
}

// timePoints are the names of COMMON_DURATION.
var timePoints = map[string]mesh.TimePoint{
	"DS_RX_BEG": mesh.DownstreamFirstReceived, "DS_RX_END": mesh.DownstreamLastReceived, "US_CX_BEG": mesh.UpstreamConnectBegin,
	"US_CX_END": mesh.UpstreamConnectEnd, "US_TX_BEG": mesh.UpstreamFirstSent, "US_TX_END": mesh.UpstreamLastSent,
	"US_RX_BEG": mesh.UpstreamFirstReceived, "US_RX_END": mesh.UpstreamLastReceived, "DS_TX_BEG": mesh.DownstreamFirstSent,
	"DS_TX_END": mesh.DownstreamLastSent,
}

var durationUnits = map[string]time.Duration{"ms": time.Millisecond, "us": time.Microsecond, "ns": time.Nanosecond}

func commonDuration(part *mesh.FormatPart, operand string) error {
	words := strings.Split(operand, ":")
	if len(words) < 2 || len(words) > 3 {
		return errors.New("must be START:END or START:END:PRECISION")
	}
	part.Unit = time.Millisecond
	if len(words) == 3 {
		var ok bool
		if part.Unit, ok = durationUnits[words[2]]; !ok {
			return errors.New("the precision must be ms, us or ns")
		}
	}
	for i, to := range []*mesh.TimePoint{&part.From, &part.To} {
		var ok bool
		if *to, ok = timePoints[words[i]]; !ok {
			*to = mesh.NoTimePoint // filters of Envoy can name others
		}
	}
	return nil
}

var newline = regexp.MustCompile(`^%[-_0^#]*[1-9]*[EO]?n`)

// timeLayout takes what leno knows of strftime and of absl::FormatTime.
func timeLayout(part *mesh.FormatPart, layout string) error {
	part.Layout = layout
	for s := layout; ; {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return nil
		}
		if newline.MatchString(s[i:]) {
			return errors.New("must not have an end of line")
		}
		n := mesh.LayoutSpecifier(s[i:])
		if n == 0 {
			return &commandError{"the time format " + s[i:], inLog}
		}
		s = s[i+n:]
	}
}

func grpcStyle(part *mesh.FormatPart, style string) error {
	switch part.Style = style; style {
	case "CAMEL_STRING":
		part.Style = ""
	case "", "SNAKE_STRING", "NUMBER":
	default:
		return errors.New("must be CAMEL_STRING, SNAKE_STRING or NUMBER")
	}
	return nil
}

// environment reads a variable of the agent, once, as Envoy does of its own.
func environment(part *mesh.FormatPart, name string) error {
	v, ok := os.LookupEnv(name)
	if !ok {
		v = "-"
	} else if part.Limit && uint64(len(v)) > part.MaxLength {
		v = v[:part.MaxLength]
	}
	*part = mesh.FormatPart{Text: v}
	return nil
}
