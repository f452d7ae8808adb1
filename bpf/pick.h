/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Choosing a share and a slot. Reads the rows, changes nothing but the ring's position. */
#ifndef LENO_PICK_H
#define LENO_PICK_H

#include "maps.h"

/* A uniform number below n, n > 0. The multiply-shift bias is below n / 2^32. */
static __always_inline __u32 below(__u32 random, __u32 n)
{
	return ((__u64)random * n) >> 32;
}

/* The share whose weight range holds `at`; binary search, since upto grows. Returns its index from 1, 0 if none. */
static __always_inline __u32 pick_share(void *rows, __u32 shares, __u32 at)
{
	__u32 lo = 1, hi = shares;

	if (shares > LENO_MAX_SHARES)
		return 0;
	for (int i = 0; i < 8 && lo < hi; i++) {
		__u32 mid = (lo + hi) / 2;
		union target *t = bpf_map_lookup_elem(rows, &mid);

		if (!t)
			return 0;
		if (at < t->share.upto)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo <= shares ? lo : 0;
}

static __always_inline __u64 active_at(__u32 endpoint)
{
	__u64 *n = bpf_map_lookup_elem(&endpoint_active, &endpoint);

	return n ? *n : 0;
}

static __always_inline struct cluster_slot *slot_at(void *rows, __u32 index)
{
	union cluster_entry *e = bpf_map_lookup_elem(rows, &index);

	return e ? &e->slot : NULL;
}

/* The least busy of `choices` random slots; of equals the first drawn, as in Envoy. */
static __always_inline struct cluster_slot *pick_least(void *rows, __u32 slots, __u32 choices)
{
	struct cluster_slot *best = NULL;
	__u64 least = 0;

	for (__u32 i = 0; i < 16 && i < choices; i++) {
		struct cluster_slot *s = slot_at(rows, 1 + below(bpf_get_prandom_u32(), slots));
		__u64 n;

		if (!s)
			return NULL;
		n = active_at(s->endpoint);
		if (!best || n < least) {
			best = s;
			least = n;
		}
	}
	return best;
}

static __always_inline struct cluster_slot *pick_slot(void *rows, const struct cluster_head *h, __u32 cluster)
{
	__u64 *pos;

	if (!h->slots)
		return NULL;
	switch (h->policy) {
	case POLICY_RANDOM:
		return slot_at(rows, 1 + below(bpf_get_prandom_u32(), h->slots));
	case POLICY_LEAST:
		return pick_least(rows, h->slots, h->choices);
	default:
		pos = bpf_map_lookup_elem(&ring_pos, &cluster);
		if (!pos)
			return NULL;
		return slot_at(rows, 1 + (__u32)(__sync_fetch_and_add(pos, 1) % h->slots));
	}
}

#endif
