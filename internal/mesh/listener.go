// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"
	"time"
)

// Listener is one address that the mesh owns (Envoy: config.listener.v3.Listener).
// It has a Tombstone, or a chain at least.
type Listener struct {
	Name string
	// Address may be unspecified (0.0.0.0 or ::), which stands for every local address.
	// IPv4 is never v4-mapped here.
	Address netip.AddrPort
	// V4Compat: an unspecified IPv6 address also takes IPv4 (Envoy: ipv4_compat).
	V4Compat bool
	// Additional are more addresses of the same listener; only where BindToPort.
	Additional []ListenAddress
	// BindToPort: the agent really listens there, and the listener owns local addresses of the
	// agent's network namespace only. False: it owns the address in every namespace of its scope.
	BindToPort bool
	// StatPrefix replaces the address in statistics; empty: the address is used.
	StatPrefix string

	// Filters look at a connection before a chain is chosen, in this order. What they wait for ends after FiltersTimeout
	// (0: never; Envoy's default 15 s; not looked at without Filters), and so does the connection, unless ContinueOnFiltersTimeout.
	Filters                  []ListenerFilter
	FiltersTimeout           time.Duration
	ContinueOnFiltersTimeout bool

	// Chains are told apart by their matches, of which no two take the same connection equally well; they are in
	// configuration order. Default has the connections that none of them takes; nil: those are closed.
	Chains  []*FilterChain
	Default *FilterChain

	Tombstone string // why connects to this address fail

	// Tier is the listener's own wish from metadata.filter_metadata["leno"].tier: "", "proxy" or "socket".
	Tier string
}

// ListenAddress is one address with its V4Compat.
type ListenAddress struct {
	Address  netip.AddrPort
	V4Compat bool
}

// Addresses are all of a listener, the one that names it first.
func (l *Listener) Addresses() []ListenAddress {
	return append([]ListenAddress{{l.Address, l.V4Compat}}, l.Additional...)
}

// All are the chains of a listener, the default last.
func (l *Listener) All() []*FilterChain {
	if l.Default == nil {
		return l.Chains
	}
	return append(l.Chains[:len(l.Chains):len(l.Chains)], l.Default)
}

// ListenerFilter has one of its fields set.
type ListenerFilter struct {
	TLS   *TLSInspector
	HTTP  bool // envoy.filters.listener.http_inspector
	Proxy *ProxyProtocol
}

// ProxyProtocol is envoy.filters.listener.proxy_protocol: the ends of a connection are those that its PROXY header names.
type ProxyProtocol struct {
	StatPrefix string // may be empty
	// Optional lets connections without a header pass (allow_requests_without_proxy_protocol).
	Optional bool
	// NoV1 and NoV2 are disallowed_versions.
	NoV1, NoV2 bool
}

// TLSInspector is envoy.filters.listener.tls_inspector.
type TLSInspector struct {
	// MaxClientHello in bytes, at most 16 KiB, which is the default: a longer one ends the connection.
	MaxClientHello uint32
	// CloseOnErrors ends connections that do not begin with a ClientHello.
	CloseOnErrors bool
}

// FilterChain is what is done with the connections that its match takes (Envoy: config.listener.v3.FilterChain).
// Exactly one of TCP, HTTP, Direct, Echo and Tombstone is set.
type FilterChain struct {
	Name  string     // may be empty
	Match ChainMatch // that of a default chain is not looked at

	// Limits are asked in turn before anything else is done.
	Limits []*ConnectionLimit
	// RBAC judges the connection in turn when its first bytes come; only before TCP and HTTP.
	RBAC []*NetworkRBAC

	TCP       *TCPProxy
	HTTP      *HTTPConnectionManager
	Direct    *DirectBytes
	Echo      bool   // envoy.filters.network.echo: what comes is sent back
	Tombstone string // why its connections are closed
}

// ConnectionLimit is envoy.filters.network.connection_limit. Each one counts the connections of its own chain.
type ConnectionLimit struct {
	StatPrefix string
	Off        bool   // runtime_enabled is false: it only has its statistics
	Max        uint64 // connections at a time
	// Delay is how long one too many is kept before it is closed.
	Delay time.Duration
}

// DirectBytes is envoy.filters.network.direct_response: all that a client gets.
type DirectBytes struct{ Body []byte }

// ChainMatch says which connections a chain takes (Envoy: FilterChainMatch). An empty field asks for nothing. The fields are
// looked at in the order in which they stand here; at each, only the chains with the most specific value that fits stay.
type ChainMatch struct {
	DestinationPort uint16
	Prefixes        []netip.Prefix // of the destination
	// ServerNames are in lower case; ".a.b" stands for "*.a.b".
	ServerNames          []string
	TransportProtocol    string // "tls", "raw_buffer"
	ApplicationProtocols []string
	DirectSourcePrefixes []netip.Prefix // of the peer itself, whatever a PROXY header says
	SourceType           SourceType
	SourcePrefixes       []netip.Prefix
	SourcePorts          []uint16
}

// Empty says that the match takes every connection.
func (m *ChainMatch) Empty() bool {
	return m.DestinationPort == 0 && m.Prefixes == nil && m.ServerNames == nil && m.TransportProtocol == "" && m.ApplicationProtocols == nil &&
		m.DirectSourcePrefixes == nil && m.SourceType == AnySource && m.SourcePrefixes == nil && m.SourcePorts == nil
}

// SourceType is Envoy's ConnectionSourceType.
type SourceType int

const (
	AnySource      SourceType = iota
	LocalSource               // SAME_IP_OR_LOOPBACK: from 127.0.0.1, ::1 or the destination's own address
	ExternalSource            // EXTERNAL: all others
)

// TCPProxy is Envoy's envoy.filters.network.tcp_proxy.
type TCPProxy struct {
	StatPrefix string
	// Clusters has one member for `cluster`, several for `weighted_clusters`; weights are 1 to 2^32-1,
	// their sum fits in 32 bits.
	Clusters []WeightedCluster
	// IdleTimeout ends a connection on which no byte moved; 0: never. Envoy's default: 1 h.
	IdleTimeout time.Duration
	// IdleTimeoutSet: the file names idle_timeout; then only the proxy tier can honour it.
	IdleTimeoutSet bool
	// MaxConnectAttempts is how many hosts are tried for one downstream connection; at least 1.
	MaxConnectAttempts uint32
	// BackOffBase and BackOffMax bound the random wait between attempts, which doubles each time; 0: none.
	BackOffBase, BackOffMax time.Duration
	// AwaitData: no host is chosen before the client has sent something (upstream_connect_mode: ON_DOWNSTREAM_DATA).
	AwaitData bool
	// HashSourceIP gives ring hash and Maglev the client's address to choose by (hash_policy.source_ip).
	HashSourceIP bool
	// MaxDuration ends a connection of that age; 0: no age does. MaxDurationJitter in percent of it is added by chance.
	MaxDuration       time.Duration
	MaxDurationJitter float64
	// AccessLogs tell of each connection when it is over.
	AccessLogs []AccessLog
}
