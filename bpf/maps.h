/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map. All are pinned by name; sizes are defaults that the agent replaces by its flags at first load. */
#ifndef LENO_MAPS_H
#define LENO_MAPS_H

/* Written by the agent at start and once a second (heartbeat); read by every hook. One row. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Managed cgroup (kernfs id) -> scope id. Written by the agent, read at connect. One row per --scope.
 * Full: the agent refuses to start. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} scopes SEC(".maps");

/* Owned address -> listener id. Written by the agent (insert and delete only), read at connect.
 * Sized by --max-listeners. Full: the agent refuses the whole configuration. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct listener_key);
	__type(value, __u32);
} listeners SEC(".maps");

struct target_rows {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(union target));
};

/* Listener id -> its split, as one inner map that never changes once it is here. Written by the agent,
 * read at connect. Indexed by id, so as large as `listeners`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__array(values, struct target_rows);
} targets SEC(".maps");

/* Listener id -> 1 if it has a row in `targets`. Written by the agent; read only by the next agent: older kernels wait for
 * their readers at each look into an array of maps (Linux before 6.8, kernel/bpf/syscall.c, bpf_map_copy_value). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} target_ids SEC(".maps");

struct cluster_rows {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(union cluster_entry));
};

/* Cluster id -> its balancing ring, likewise. Sized by --max-clusters. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__array(values, struct cluster_rows);
} clusters SEC(".maps");

/* Cluster id -> whose id it is; zeros: it has no row in `clusters`. Written by the agent; read only by the next agent, to
 * keep ids. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct cluster_name);
} cluster_names SEC(".maps");

/* Cluster id -> position in its ring. Written and read at connect; as large as `clusters`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u64);
} ring_pos SEC(".maps");

/* Cluster id -> connections in flight, of all tiers: the agent adds through its mapping of the same memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} cluster_active SEC(".maps");

/* Endpoint id -> connections or requests in flight, likewise. Sized by --max-endpoints. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} endpoint_active SEC(".maps");

/* Local addresses of the agent's namespace. Written by the agent from netlink; read at connect for wildcard listeners.
 * 64K: a host with more has routes to itself, not addresses. Full: the agent reports it; the address is then not intercepted
 * but still served by the bound socket. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct local_key);
	__type(value, __u8);
} locals SEC(".maps");

/* (namespace, listener, family) -> agent listener in that namespace. Written by the agent, read at connect.
 * Sized by --max-parked: namespaces x listeners. Full: the agent reports it; connects that need the missing row are refused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct park_key);
	__type(value, struct park);
} parks SEC(".maps");

/* Counters of (listener, cluster, endpoint). Rows are made by the connect hook at the first hit and removed by the agent
 * when their ids have gone; it adds them up in rows with 0 for what has gone. Not per CPU: they change per connection, and 100,000 endpoints x 128 CPUs would be gigabytes.
 * Full: counted in row 0,0,0 (always there) and in COUNT_FLOW_FULL. Sized by --max-flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/* A flow of zeros, to make rows of `flows` from. Never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} blank_flow SEC(".maps");

/* enum counter -> number. Written by the hooks, read at scrape time. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_COUNT);
	__type(key, __u32);	/* enum counter */
	__type(value, __u64);
} counters SEC(".maps");

/* What a claimed socket remembers; written by the connect hook and sockops, read by all hooks. Lives in the socket.
 * No memory: the connect is refused and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct conn);
} conns SEC(".maps");

/* struct park_wanted for the agent. Full: counted; the agent also looks for namespaces by itself. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

#endif
