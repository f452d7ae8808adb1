// SPDX-License-Identifier: Apache-2.0

// Package mesh is leno's model of what it was told to do: scopes, listeners,
// routes, clusters, endpoints. Values are validated before they get here, are
// immutable once published and are shared freely between goroutines; whoever
// wants a change makes a new value and keeps the pointers of all parts that
// did not change, so that readers can compare by pointer.
//
// It is not for decoding (package xds), not for anything that the kernel or the
// network says (mesh.Hosts, made by package upstream, is the one exception) and
// it imports nothing but the standard library.
//
// Field names follow Envoy's v3 API; an absent field in the input has already
// become Envoy's default here.
package mesh

import (
	"net/netip"
	"time"
)

// Config is everything the agent was told, of all scopes.
type Config struct {
	// Scopes are ordered by Cgroup; at least one.
	Scopes []*Scope
}

// Scope is a set of cgroups that share one listener set and one node identity.
type Scope struct {
	// Cgroup is the path of the managed cgroup below the cgroup2 mount: "/" is the whole host.
	Cgroup string
	// Source is the bootstrap file that the scope came from.
	Source string

	Node Node
	// LocalCluster names the cluster whose hosts are this data plane and its kin (cluster_manager.local_cluster_name): with it,
	// balancing is zone aware. Empty: none.
	LocalCluster string

	Admin *Admin // nil: the bootstrap has no admin section

	// Listeners, Routes and Clusters are ordered by name; names are unique.
	// Routes holds what came by RDS; inline route configurations hang at their listener.
	Listeners []*Listener
	Routes    []*RouteConfig
	Clusters  []*Cluster

	// Problems lists what was skipped, refused or is kept at its last good value.
	Problems []Problem
}

// Node identifies this data plane to a control plane (Envoy: config.core.v3.Node).
type Node struct {
	ID      string
	Cluster string
	// Locality is where this data plane runs; nil: not said.
	Locality *Locality
}

// Admin is the address of the read-only admin HTTP server (Envoy: config.bootstrap.v3.Admin).
type Admin struct {
	Address netip.AddrPort
}

// Severity says what became of a part of the input.
type Severity int

const (
	// Skipped: the field only observes or tunes; traffic is not changed by leaving it out.
	Skipped Severity = iota
	// Refused: valid for Envoy but not supported; the smallest safe unit became a tombstone.
	Refused
	// Rejected: invalid for Envoy too; the resource's last good value serves, or a tombstone.
	Rejected
)

// Problem is one thing that leno did not do as the input asked.
type Problem struct {
	Severity Severity
	File     string // the file it was read from
	Line     int    // 1-based; 0: unknown
	Resource string // "listener web", "cluster blue", ... ; empty: the whole file
	Field    string // full proto path, such as static_resources.listeners[0].filter_chains[0].filters[0]
	Message  string // what is wrong and what leno would accept
}

// WeightedCluster is one share of a split.
type WeightedCluster struct {
	Name   string
	Weight uint32
	// Only used below HTTP routes:

	// Header, in lower case, whose first value names the cluster instead of Name (cluster_header); empty: none.
	Header string
	// HostRewriteLiteral replaces the authority before the route's own rewrite is looked at; empty: none.
	HostRewriteLiteral string
	RequestHeaders     HeaderOps
	ResponseHeaders    HeaderOps
	Filters            FilterOverrides
}

// HTTPConnectionManager is Envoy's filter of that name.
type HTTPConnectionManager struct {
	StatPrefix string
	// Exactly one of RouteConfig and RDS is set. RDS names a member of Scope.Routes; while it is
	// missing there, every request is answered with 404.
	RouteConfig *RouteConfig
	RDS         string
	// Filters see each request in this order before it is routed, and answers in the reverse one.
	Filters []HTTPFilter

	// StreamIdleTimeout: 0 never; Envoy's default 5 min. RequestTimeout: 0 (default) never.
	StreamIdleTimeout     time.Duration
	RequestTimeout        time.Duration
	RequestHeadersTimeout time.Duration
	// MaxStreamDuration bounds a whole exchange, from the first byte of its request; 0 (default): it is not bounded.
	MaxStreamDuration time.Duration
	// IdleTimeout of a downstream connection without active requests: 0 never; Envoy's default 1 h.
	IdleTimeout time.Duration
	// MaxRequestHeadersKiB (default 60) and MaxHeadersCount (default 100) bound request heads: 431 beyond.
	MaxRequestHeadersKiB uint32
	MaxHeadersCount      uint32
	// UseRemoteAddress, GenerateRequestID, PreserveExternalRequestID: as in Envoy (defaults false, true, false).
	UseRemoteAddress          bool
	GenerateRequestID         bool
	PreserveExternalRequestID bool
	// Upgrades are the protocols passed through, in lower case ("websocket"); all others are refused with 403.
	Upgrades []string
	// ServerName is what goes into `server` of responses, as ServerHeader says.
	ServerName   string
	ServerHeader ServerHeader
	// Origin, Paths and Authority say what is made of a request's head.
	Origin    Origin
	Paths     Paths
	Authority Authority
	// Via is appended to via in both directions; empty: nothing is.
	Via string
	// RequestIDInResponse is always_set_request_id_in_response.
	RequestIDInResponse bool
	// Proxy100Continue leaves it to the upstream to answer Expect: 100-continue.
	Proxy100Continue bool
	// LocalReply changes answers of our own; nil: they stay.
	LocalReply *LocalReply
	// AccessLogs tell of each request when it is over.
	AccessLogs []AccessLog
	// DelayedCloseTimeout, DrainTimeout: Envoy's defaults 1 s and 5 s.
	DelayedCloseTimeout time.Duration
	DrainTimeout        time.Duration
}

// RouteConfig is Envoy's config.route.v3.RouteConfiguration.
type RouteConfig struct {
	Name            string
	VirtualHosts    []*VirtualHost // in configuration order; domains are unique over all of them
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	// MostSpecificHeaderMutationsWins turns Envoy's order of header operations round.
	MostSpecificHeaderMutationsWins bool
	// IgnorePortInHostMatching: the virtual host is looked for without the port of the authority.
	IgnorePortInHostMatching bool
	// VHostHeader is the header, in lower case, that the virtual host is chosen by instead of the authority; empty: none.
	VHostHeader string
	// IgnorePathParametersInPathMatching: paths are compared up to the first ";".
	IgnorePathParametersInPathMatching bool
	Filters                            FilterOverrides
}

// VirtualHost groups routes by the request's authority.
type VirtualHost struct {
	Name string
	// Domains: exact "a.b:80", suffix "*.b", prefix "a.*", or "*". Compared without case.
	// Search order: exact, longest suffix, longest prefix, "*" (Envoy: route.proto, VirtualHost.domains).
	Domains         []string
	Routes          []*Route // the first match wins
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	// AttemptCountRequest and AttemptCountResponse put x-envoy-attempt-count on what goes upstream, and on answers.
	// IsTimeoutRetry tells upstreams by x-envoy-is-timeout-retry why a request is tried again.
	AttemptCountRequest, AttemptCountResponse, IsTimeoutRetry bool
	RateLimits                                                []RateLimitRule
	// RequireTLS redirects to https instead of looking for a route.
	RequireTLS TLSRequirement
	// CORS is for the cors filter where no level has an override for it; nil: none.
	CORS    *CORS
	Filters FilterOverrides
}

// TLSRequirement says which requests must say https in x-forwarded-proto.
type TLSRequirement int

const (
	NoTLS       TLSRequirement = iota
	ExternalTLS                // those that are not internal (x-envoy-internal)
	AllTLS
)

// Route is one match and one action; exactly one of Forward, Direct, Redirect, ToTLS and Tombstone is set.
type Route struct {
	Name            string
	Match           RouteMatch
	Forward         *RouteAction
	Direct          *DirectResponse
	Redirect        *Redirect
	ToTLS           bool     // answer 301 to the same place by https; only where VirtualHost.RequireTLS leads to
	Tombstone       string   // the action is not supported: answer 503 and say why in status
	Metadata        Metadata // for rbac
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	Filters         FilterOverrides
}

// PathKind says how RouteMatch.Path is compared.
type PathKind int

const (
	PathPrefix          PathKind = iota // prefix
	PathExact                           // path
	PathSeparatedPrefix                 // path_separated_prefix: whole segments
	PathRegex                           // safe_regex: the whole path
)

// RouteMatch is Envoy's config.route.v3.RouteMatch. The path is compared without the query.
type RouteMatch struct {
	Kind          PathKind
	Path          string
	Regex         *Regex // of PathRegex, for the whole path
	CaseSensitive bool   // default true; PathRegex does not look at it
	Headers       []HeaderMatch
	Query         []QueryMatch
	Cookies       []CookieMatch
	// Fraction of requests that match at all (runtime_fraction); nil: all.
	Fraction *Fraction
	// GRPC: only requests whose content type is gRPC's.
	GRPC bool
}

// Fraction is a share of Envoy's FractionalPercent: Numerator of Denominator, which is 100, 10,000 or 1,000,000. There are no
// runtime values, so runtime_key has no effect and default_value counts.
type Fraction struct{ Numerator, Denominator uint32 }

// StringKind says how a string is compared.
type StringKind int

const (
	StringExact StringKind = iota
	StringPrefix
	StringSuffix
	StringContains
	StringPresent // no value is compared; for headers and query parameters only
	StringRegex
)

// StringMatch compares one string.
type StringMatch struct {
	Kind       StringKind
	Value      string
	IgnoreCase bool
	Regex      *Regex // of StringRegex, for the whole text; IgnoreCase is not looked at
}

// HeaderMatch is Envoy's HeaderMatcher. Name is lower case; ":method", ":authority", ":path" and ":scheme" are allowed.
// Of several fields of one name it is enough that one matches.
type HeaderMatch struct {
	Name    string
	Match   StringMatch
	Range   *Range // range_match, instead of Match; nil: none
	Present bool   // for StringPresent: the wanted answer (present_match: false wants it absent)
	Invert  bool
	// TreatMissingAsEmpty: an absent header is compared as "" (else it never matches, nor does its inversion).
	TreatMissingAsEmpty bool
}

// Range holds the whole numbers from Start up to and without End (Envoy: Int64Range).
type Range struct{ Start, End int64 }

// QueryMatch compares the first value of one query parameter.
type QueryMatch struct {
	Name    string
	Match   StringMatch
	Present bool
}

// CookieMatch compares one cookie (Envoy: CookieMatcher).
type CookieMatch struct {
	Name   string
	Match  StringMatch
	Invert bool
}

// RouteAction forwards to clusters (Envoy: config.route.v3.RouteAction).
type RouteAction struct {
	// Clusters has one member for `cluster`, several for `weighted_clusters`.
	Clusters []WeightedCluster
	// Timeout of the whole exchange, from the end of the request; 0: none. Envoy's default 15 s.
	Timeout time.Duration
	// IdleTimeout overrides the connection manager's stream_idle_timeout; nil: not set.
	IdleTimeout *time.Duration
	// MaxStreamDuration overrides the connection manager's; nil: not set.
	MaxStreamDuration *time.Duration
	// StreamTimeouts: gRPC requests say upstream how long they may last, by whoever bounds that (Envoy: usingNewTimeouts).
	StreamTimeouts bool
	// MaxGRPCTimeout: gRPC requests have their own grpc-timeout, less GRPCTimeoutOffset and at most this, in the place of Timeout;
	// 0: any. nil: not set.
	MaxGRPCTimeout    *time.Duration
	GRPCTimeoutOffset time.Duration
	// SplitHeader, in lower case, holds the number that chooses among Clusters, if it is one; empty: none. SplitByHash: what
	// HashPolicy makes of the request does, if it makes anything. Else chance does.
	SplitHeader string
	SplitByHash bool
	HashPolicy  []HashPolicy
	// PrefixRewrite replaces the matched prefix or path; empty: none. RegexRewrite changes the path without its query; nil: none.
	// At most one of them is set.
	PrefixRewrite string
	RegexRewrite  *RegexRewrite
	// At most one of these replaces the authority: a fixed text, the first value of a header (in lower case), what
	// HostRewritePathRegex makes of the path without its query, or the name of the endpoint. What would make it empty is not done.
	HostRewriteLiteral   string
	HostRewriteHeader    string
	HostRewritePathRegex *RegexRewrite
	AutoHostRewrite      bool
	// AppendXForwardedHost puts the old authority into x-forwarded-host when it is rewritten.
	AppendXForwardedHost bool
	// ClusterNotFoundCode is 503 (default), 404 or 500.
	ClusterNotFoundCode int
	// Retry is the route's policy, or else its virtual host's; nil: none.
	Retry *RetryPolicy
	// RateLimits make descriptors for rate limits; IncludeVHRateLimits: the virtual host's do, too, whatever the filter says.
	RateLimits          []RateLimitRule
	IncludeVHRateLimits bool
	// CORS comes before the virtual host's; nil: none.
	CORS *CORS
	// BufferLimit bounds in bytes what of a request's body is kept for retries and redirects, and what waits for a mirror.
	BufferLimit uint64
	// Priority of the requests; default DEFAULT.
	Priority Priority
	// Mirrors are the route's, or else its virtual host's, or else the route configuration's.
	Mirrors []Mirror
	// InternalRedirect: nil: redirects are the client's.
	InternalRedirect *InternalRedirect
}

// DirectResponse answers without an upstream.
type DirectResponse struct {
	Status int // 200 to 599
	Body   []byte
}

// Redirect is Envoy's RedirectAction.
type Redirect struct {
	Scheme     string // scheme_redirect; empty: kept
	HTTPS      bool   // https_redirect
	Host       string // host_redirect; empty: kept
	Port       uint32 // port_redirect; 0: kept, or dropped when the scheme changes from a default port
	Path       string // path_redirect, may carry a query; empty: kept
	PrefixPath string // prefix_rewrite of the redirect; empty: none
	// RegexRewrite of the redirect changes the path without its query; nil: none.
	RegexRewrite *RegexRewrite
	Status       int // 301, 302, 303, 307, 308
	StripQuery   bool
}

// AppendAction says what happens when the header is already there (Envoy: HeaderValueOption.HeaderAppendAction).
type AppendAction int

const (
	AppendIfExistsOrAdd AppendAction = iota
	AddIfAbsent
	OverwriteIfExistsOrAdd
	OverwriteIfExists
)

// HeaderOps are applied in this order: Remove first, then Add, as Envoy does at one level.
type HeaderOps struct {
	Remove []string // lower case
	Add    []HeaderAdd
}

// HeaderAdd sets one header. Value has no command operators; Format, where it has any, stands in its place.
type HeaderAdd struct {
	Name           string
	Value          string
	Format         Format
	Action         AppendAction
	KeepEmptyValue bool
}

// Discovery says how a cluster finds its endpoints (Envoy: Cluster.DiscoveryType).
type Discovery int

const (
	Static Discovery = iota
	StrictDNS
	LogicalDNS
	EDS
)

// Cluster is a set of equivalent endpoints (Envoy: config.cluster.v3.Cluster).
type Cluster struct {
	Name        string
	AltStatName string // empty: Name
	Discovery   Discovery
	Balancing
	// ConnectTimeout: default 5 s.
	ConnectTimeout time.Duration
	// Breakers of the priority DEFAULT.
	Breakers Breakers
	// HighBreakers are those of HIGH; nil: DefaultBreakers. Read both by BreakersOf.
	HighBreakers *Breakers
	// Outlier ejects hosts that fail; nil: none is. A pointer that stays says that what was learned stays, too.
	Outlier *OutlierDetection
	// ErrorMatcher is what outlier detection looks at answers with; nil: statuses from 500 on are failures.
	ErrorMatcher *ErrorMatcher
	// Check tries the hosts; nil: nobody does. A pointer that stays says that what was learned stays, too.
	Check *HealthCheck
	// RemoveAtOnce: a host that is no member any more leaves even if checks find it healthy (ignore_health_on_host_removal).
	RemoveAtOnce bool
	// WaitForCheck: a new host does not count as a member before its first check (common_lb_config.ignore_new_hosts_until_first_hc).
	WaitForCheck bool
	// CloseOnHostFailure ends the TCP connections to a host that fails at run time (close_connections_on_host_health_failure).
	CloseOnHostFailure bool
	// PanicThreshold in percent (common_lb_config.healthy_panic_threshold, whole): default 50; 0: never panic.
	PanicThreshold uint32
	// Endpoints is the load assignment: inline, or the newest by EDS. nil: not arrived yet (the cluster is warming).
	Endpoints *Endpoints
	// DNS settings of StrictDNS and LogicalDNS.
	DNS DNS
	// Tombstone: why this cluster may not be used; everything routed to it fails as if it had no endpoints.
	Tombstone string
	// IdleTimeout of pooled upstream connections (HttpProtocolOptions.common): default 1 h; 0 never.
	IdleTimeout time.Duration
	// PreconnectRatio is how many HTTP connections to a host are wanted for each request
	// (preconnect_policy.per_upstream_preconnect_ratio); 0: 1.
	PreconnectRatio float64
	// ProxyHeader tells upstreams whose connection it is; nil: nothing does.
	ProxyHeader *ProxyHeader
	// MaxConnectionDuration of upstream HTTP connections, from when they are established: then they serve no further request; 0:
	// any. The next two bound the heads of responses: in KiB, 0: 80; in fields, 0: 100.
	MaxConnectionDuration   time.Duration
	MaxResponseHeadersKiB   uint32
	MaxResponseHeadersCount uint32
	// ViaAPI: the cluster came by CDS, not from the bootstrap's static_resources.
	ViaAPI bool
	// MaxRequestsPerConnection of upstream HTTP connections; 0: no limit.
	MaxRequestsPerConnection uint32
}

// ProxyHeader is what begins each connection to an upstream (Envoy: transport_sockets.proxy_protocol).
type ProxyHeader struct {
	V2     bool   // the binary form
	Values []byte // added_tlvs of the binary form, as they are sent
}

// Priority is Envoy's RoutingPriority: each has its own breakers and upstream connections.
type Priority int

const (
	PriorityDefault Priority = iota
	PriorityHigh
	Priorities = 2 // how many there are
)

// DefaultBreakers are what a priority has for which the file names none.
var DefaultBreakers = Breakers{MaxConnections: 1024, MaxPendingRequests: 1024, MaxRequests: 1024, MaxRetries: 3}

// BreakersOf returns the thresholds of one priority. They must not be changed.
func (c *Cluster) BreakersOf(p Priority) *Breakers {
	switch {
	case p != PriorityHigh:
		return &c.Breakers
	case c.HighBreakers != nil:
		return c.HighBreakers
	}
	return &DefaultBreakers
}

// Breakers are the thresholds of Envoy's CircuitBreakers for one priority.
type Breakers struct {
	MaxConnections     uint32
	MaxPendingRequests uint32
	MaxRequests        uint32
	MaxRetries         uint32
	// PerHost bounds the connections to each host (per_host_thresholds.max_connections); nil: nothing does.
	PerHost *uint32
	// Budget takes the place of MaxRetries; nil: there is none.
	Budget *RetryBudget
	// MaxConnectionsSet: the file names max_connections.
	MaxConnectionsSet bool
	// TrackRemaining: the gauges remaining_* say how much there is room for.
	TrackRemaining bool
}

// DNS is how a cluster's names are resolved.
type DNS struct {
	RefreshRate time.Duration // default 5 s
	RespectTTL  bool          // respect_dns_ttl
	Family      DNSFamily
	// FailureBase and FailureMax bound the back-off after a failed query (dns_failure_refresh_rate); 0: RefreshRate.
	FailureBase, FailureMax time.Duration
	// Resolvers are the servers to ask; empty: /etc/resolv.conf.
	Resolvers []netip.AddrPort
}

// DNSFamily is Envoy's DnsLookupFamily.
type DNSFamily int

const (
	DNSAuto DNSFamily = iota // IPv6, and IPv4 if there is none
	DNSV4Only
	DNSV6Only
	DNSV4Preferred
	DNSAll
)

// String is the word that status and reports use.
func (s Severity) String() string {
	switch s {
	case Skipped:
		return "skipped"
	case Refused:
		return "refused"
	default:
		return "rejected"
	}
}
