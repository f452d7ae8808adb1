// SPDX-License-Identifier: Apache-2.0

package mesh

import "net/netip"

// Origin says whose word counts for where a request comes from, and what a client may say of itself.
type Origin struct {
	// TrustedHops is xff_num_trusted_hops beside use_remote_address: how many proxies in front of this one are believed.
	TrustedHops uint32
	// Detection is asked in turn without use_remote_address; the first that finds an address counts.
	Detection []XFFDetection
	// Internal are the addresses of internal clients, who may use the x-envoy-* fields. Empty: nobody is internal
	// (without internal_address_config; with an empty one it is the private networks).
	Internal []netip.Prefix
	// SkipXFFAppend leaves x-forwarded-for as it came.
	SkipXFFAppend bool
	// AppendXForwardedPort sets x-forwarded-port where no trusted proxy did.
	AppendXForwardedPort bool
	// KeepClientCert passes x-forwarded-client-cert on (ALWAYS_FORWARD_ONLY); without TLS all other settings remove it.
	KeepClientCert bool
	// Scheme replaces the request's scheme; empty: it is kept.
	Scheme string
	// AddUserAgent names this proxy's node to upstreams, and stands in for an absent user-agent.
	AddUserAgent bool
}

// XFFDetection finds the client in x-forwarded-for (Envoy: original_ip_detection.xff).
type XFFDetection struct {
	// Hops are skipped at the end of the list.
	Hops uint32
	// Trusted are the proxies that are skipped instead, if the connection itself comes from one of them.
	Trusted []netip.Prefix
	// Append adds the connection's own address to the list afterwards, also when nothing was found. A connection that is not
	// from a trusted proxy is always added.
	Append bool
}

// EscapedSlashes is Envoy's PathWithEscapedSlashesAction.
type EscapedSlashes int

const (
	KeepEscapedSlashes EscapedSlashes = iota // KEEP_UNCHANGED
	RejectEscapedSlashes
	RedirectUnescaped
	ForwardUnescaped
)

// Paths says how a path is made canonical before anything looks at it.
type Paths struct {
	Normalize      bool
	MergeSlashes   bool
	EscapedSlashes EscapedSlashes
}

// StripPort says when the port leaves the authority.
type StripPort int

const (
	KeepPort          StripPort = iota
	StripMatchingPort           // if it is the listener's
	StripAnyPort
)

// Authority says how a host is made canonical before anything looks at it.
type Authority struct {
	StripPort        StripPort
	StripTrailingDot bool
}

// ServerHeader says what becomes of an upstream's server field.
type ServerHeader int

const (
	OverwriteServer ServerHeader = iota
	AppendServerIfAbsent
	PassServerThrough
)
