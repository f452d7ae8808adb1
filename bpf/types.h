/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every struct and enum that the kernel half shares with Go. Fixed width, no implicit padding,
 * units in the names. Addresses are IPv6 or v4-mapped, in wire order; ports are host order unless __be16. */
#ifndef LENO_TYPES_H
#define LENO_TYPES_H

/* Raised whenever the layout or meaning of a pinned map changes; a different value in the pins
 * means that a new agent may not take them over. */
#define LENO_LAYOUT 1

#define LENO_MAX_SLOTS 4096u	/* slots of one cluster: 1 header + its balancing ring */
#define LENO_MAX_SHARES 128u	/* weighted clusters of one listener */
#define LENO_HIST_BUCKETS 32u

struct addr {
	__u8 ip[16];
};

/* A connect is looked up as (scope, netns, address, port), then with netns 0, then with the unspecified addresses:
 * 0.0.0.0 (v4-mapped, IPv4 only), then [::]. */
struct listener_key {
	__u64 netns;	/* network namespace cookie; 0: every namespace of the scope */
	struct addr addr;	/* unspecified: any address (see LISTENER_LOCAL_ONLY) */
	__u32 scope;
	__u16 port;	/* host order */
	__u16 pad;
};

enum listener_flag {
	LISTENER_BOUND = 1,	/* the agent really listens on this address: "to the agent" means "leave it alone" */
	LISTENER_LOCAL_ONLY = 2,	/* the wildcard address stands for local addresses of its namespace only */
	LISTENER_PROXY = 4,	/* every connect goes to the agent */
	LISTENER_TOMBSTONE = 8,	/* every connect fails */
	LISTENER_V4 = 16,	/* wildcard of 0.0.0.0: IPv4 only */
	LISTENER_V6 = 32,	/* wildcard of [::]: IPv6 (with LISTENER_V4: both) */
};

/* Inner map of `targets`, one per listener: entry 0 is the head, 1..n the shares. */
struct target_head {
	struct listener_key key;	/* proves that this row still belongs to the key that led here */
	enum listener_flag flags;	/* several, or'ed */
	__u32 shares;	/* number of entries that follow */
	__u32 total_weight;
	__u32 pad;
};

struct target_share {
	__u32 cluster;	/* id */
	__u32 upto;	/* cumulative weight, exclusive upper bound */
};

union target {
	struct target_head head;
	struct target_share share;
};

enum policy {
	POLICY_RING,	/* next slot of the ring: round robin, weights by repetition */
	POLICY_RANDOM,
	POLICY_LEAST,	/* the least busy of `choices` random slots */
};

enum cluster_flag {
	CLUSTER_TOMBSTONE = 1,
};

/* Inner map of `clusters`, one per cluster: entry 0 is the head, 1..n the slots. */
struct cluster_head {
	__u32 slots;
	enum policy policy;
	__u32 choices;
	enum cluster_flag flags;	/* several, or'ed */
	__u32 max_connections;
	__u32 connect_timeout_ms;
	__u32 pad[2];
};

enum slot_flag {
	SLOT_LOCAL_TO_AGENT = 1,	/* loopback or link-local: only means the same in the agent's namespace */
};

struct cluster_slot {
	struct addr addr;
	__u32 endpoint;	/* id */
	__u16 port;	/* host order */
	__u16 pad;
	enum slot_flag flags;	/* several, or'ed */
	__u32 pad2;
};

union cluster_entry {
	struct cluster_head head;
	struct cluster_slot slot;
};

/* Where the agent takes over connections of a proxy-tier listener that does not bind: one address per namespace. */
struct park_key {
	__u64 netns;
	__u32 listener;
	__u32 family;	/* 4 or 6 */
};

struct park {
	struct addr addr;
	__u64 cookie;	/* of the agent's socket: what else listens there since it died is not sent anything */
	__u16 port;	/* host order */
	__u16 pad[3];
};

struct local_key {
	__u64 netns;
	struct addr addr;
};

/* One row, written by the agent. */
struct settings {
	__u64 agent_netns;	/* cookie of the agent's network namespace */
	__u64 heartbeat_ns;	/* CLOCK_MONOTONIC; the agent is taken for dead when it is older than agent_dead_ns */
	__u64 agent_dead_ns;
	__u64 agent_start_ns;	/* when the agent's process began (CLOCK_BOOTTIME): another one may get its number */
	__u32 agent_tgid;	/* as the initial pid namespace sees it; its own sockets are exempt */
	__u32 layout;	/* LENO_LAYOUT */
	__u32 levels;	/* bit n: some scope's cgroup lies at depth n below the root */
	__u32 pad;
};

/* What a claimed socket remembers. In socket storage: lives and dies with the socket. */
enum conn_phase {
	CONN_NONE,
	CONN_PICKED,	/* connect() was given an endpoint; no SYN yet */
	CONN_SYN,	/* counted as active */
	CONN_OPEN,
	CONN_CLOSED,
	CONN_PARKED,	/* sent to an agent listener */
};

struct conn {
	struct addr asked;	/* what the program dialled */
	__u64 since_ns;	/* start of the phase */
	__u32 listener;
	__u32 cluster;
	__u32 endpoint;
	enum conn_phase phase;
	__u16 asked_port;	/* host order */
	__u16 family;	/* 4 or 6: that of the dialled address (v4-mapped is 6) */
	__u32 user_timeout;	/* ms; not 0: TCP_USER_TIMEOUT is ours and goes back to 0 when the handshake ends */
};

/* Counters of one (listener, cluster, endpoint). Row 0,0,0 takes what found no room. */
struct flow_key {
	__u32 listener;
	__u32 cluster;
	__u32 endpoint;
};

/* Handshakes that failed, by the socket's error. */
struct flow_failures {
	__u64 refused;
	__u64 timedout;
	__u64 unreach;	/* host or network */
	__u64 reset;
	__u64 canceled;	/* the program closed the socket first */
	__u64 other;
};

struct flow {
	__u64 picked;	/* connects that were given this endpoint */
	__u64 attempted;	/* SYN sent; picked - attempted: failed before (no route, no port ...) */
	__u64 opened;
	__u64 closed;	/* of those opened */
	struct flow_failures failed;
	__u64 tx_bytes;	/* payload that the client sent, added when the connection closes */
	__u64 rx_bytes;
	__u64 connect_us_sum;
	__u64 lifetime_ms_sum;
	__u32 connect_us[LENO_HIST_BUCKETS];	/* bucket n: < 2^n */
	__u32 lifetime_ms[LENO_HIST_BUCKETS];
};

/* What became of a connect() that a listener owned, and every early return of a hook. Index of `counters`. */
enum counter {
	COUNT_CONNECT_ENDPOINT,	/* rewritten to an endpoint */
	COUNT_CONNECT_AGENT,	/* left or sent to the agent: the listener is proxy tier */
	COUNT_CONNECT_AGENT_BOUND,	/* to the agent: the socket is bound to a source address or device */
	COUNT_CONNECT_AGENT_FAMILY,	/* to the agent: the endpoint is of the other address family */
	COUNT_CONNECT_AGENT_NETNS,	/* to the agent: the endpoint's address means something else in this namespace */
	COUNT_CONNECT_AGENT_OVERFLOW,	/* to the agent: max_connections reached */
	COUNT_REFUSED_NO_ENDPOINT,
	COUNT_REFUSED_TOMBSTONE,
	COUNT_REFUSED_AGENT_DEAD,
	COUNT_REFUSED_NO_PARK,	/* no agent listener in this namespace (yet) */
	COUNT_REFUSED_STALE,	/* the row changed its owner while it was read */
	COUNT_REFUSED_STORAGE,	/* no memory for the socket's storage */
	COUNT_PASS_AGENT,	/* the agent's own socket */
	COUNT_PASS_SCOPE,	/* socket in no managed cgroup */
	COUNT_PASS_LISTENER,	/* no listener owns the address */
	COUNT_PASS_PROTOCOL,	/* not TCP */
	COUNT_PREEXISTING,	/* open to a listener's address when leno was attached; left alone. Written by the agent */
	COUNT_FLOW_FULL,	/* the flow map is full: counted in row 0,0,0 */
	COUNT_PARK_EVENT_LOST,
	COUNT_COUNT,
};

/* Ring buffer event: somebody in this namespace needs an agent listener that is not there. */
struct park_wanted {
	__u64 netns;
	__u32 listener;
	__u32 tgid;	/* as the initial pid namespace sees it */
	__u32 family;	/* 4 or 6 */
	enum counter why;	/* what the connect would have been counted as */
};

/* Name of a cluster id: SHA-256 of scope path, NUL, cluster name; so that ids survive a restart. */
struct cluster_name {
	__u8 sha256[32];
};

#endif
