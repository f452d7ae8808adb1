/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting. */
#ifndef LENO_FLOW_H
#define LENO_FLOW_H

#include "maps.h"

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &what);

	if (n)
		*n += 1;
}

/* The row of counters, made at the first hit. NULL only if even row 0,0,0 is missing, which the agent makes at start. */
static __always_inline struct flow *flow_row(__u32 listener, __u32 cluster, __u32 endpoint)
{
	struct flow_key key = { .listener = listener, .cluster = cluster, .endpoint = endpoint };
	struct flow_key rest = {};
	__u32 zero = 0;
	struct flow *f = bpf_map_lookup_elem(&flows, &key), *blank;

	if (f)
		return f;
	/* A value of this size does not fit on the stack; the blank one lies in a map. */
	blank = bpf_map_lookup_elem(&blank_flow, &zero);
	if (blank)
		bpf_map_update_elem(&flows, &key, blank, BPF_NOEXIST);
	f = bpf_map_lookup_elem(&flows, &key);
	if (f)
		return f;
	count(COUNT_FLOW_FULL);
	return bpf_map_lookup_elem(&flows, &rest);
}

/* Bucket n holds values below 2^n. */
static __always_inline __u32 bucket(__u64 v)
{
	__u32 n = 0;

	for (__u32 i = 0; i < LENO_HIST_BUCKETS - 1 && v; i++, v >>= 1)
		n++;
	return n;
}

static __always_inline void hist_add(__u32 *hist, __u64 v)
{
	__u32 n = bucket(v);

	if (n < LENO_HIST_BUCKETS)
		__sync_fetch_and_add(&hist[n], 1);
}

static __always_inline void active_add(const struct conn *c, __s64 by)
{
	__u32 cluster = c->cluster, endpoint = c->endpoint;
	__u64 *n = bpf_map_lookup_elem(&cluster_active, &cluster);

	if (n)
		__sync_fetch_and_add(n, by);
	n = bpf_map_lookup_elem(&endpoint_active, &endpoint);
	if (n)
		__sync_fetch_and_add(n, by);
}

static __always_inline __u64 *failure_of(struct flow_failures *f, int err)
{
	switch (err) {
	case 0:
		return &f->canceled;
	case ECONNREFUSED:
		return &f->refused;
	case ETIMEDOUT:
		return &f->timedout;
	case EHOSTUNREACH:
	case ENETUNREACH:
		return &f->unreach;
	case ECONNRESET:
		return &f->reset;
	default:
		return &f->other;
	}
}

#endif
