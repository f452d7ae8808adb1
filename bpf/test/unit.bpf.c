/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The decisions of the kernel half behind SEC("syscall") programs, for Go tests only: BPF_PROG_TEST_RUN refuses the
 * real hooks. The object has maps of its own; nothing here is shipped. */
#include "include/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "include/numbers.h"
#include "types.h"
#include "maps.h"

#include "flow.h"
#include "lookup.h"
#include "pick.h"

/* What a connect to this address in this scope and namespace belongs to. */
struct unit_owner {
	struct addr addr;
	__u64 netns;
	__u32 scope;
	__u16 port;
	__u16 pad;
	__u32 listener;	/* out; 0: nobody */
	__u32 stale;	/* out */
};

SEC("syscall")
int run_owner(struct unit_owner *u)
{
	struct dial d = { .addr = u->addr, .netns = u->netns, .scope = u->scope, .port = u->port };
	struct owner o;

	addr_normalise(&d.addr);
	o = owner_of(&d);
	u->listener = o.head ? o.listener : 0;
	u->stale = o.stale;
	return 0;
}

struct unit_share {
	__u32 listener;	/* row of `targets` */
	__u32 at;	/* below the total weight */
	__u32 index;	/* out; 0: none */
	__u32 pad;
};

SEC("syscall")
int run_share(struct unit_share *u)
{
	__u32 zero = 0, listener = u->listener;
	void *rows = bpf_map_lookup_elem(&targets, &listener);
	union target *t = rows ? bpf_map_lookup_elem(rows, &zero) : NULL;

	u->index = t ? pick_share(rows, t->head.shares, u->at) : 0;
	return 0;
}

struct unit_slot {
	__u32 cluster;	/* row of `clusters` */
	__u32 endpoint;	/* out; 0: no slot */
};

SEC("syscall")
int run_slot(struct unit_slot *u)
{
	__u32 zero = 0, cluster = u->cluster;
	void *rows = bpf_map_lookup_elem(&clusters, &cluster);
	union cluster_entry *e = rows ? bpf_map_lookup_elem(rows, &zero) : NULL;
	struct cluster_slot *slot = e ? pick_slot(rows, &e->head, cluster) : NULL;

	u->endpoint = slot ? slot->endpoint : 0;
	return 0;
}

struct unit_bucket {
	__u64 value;
	__u32 bucket;	/* out */
	__u32 pad;
};

SEC("syscall")
int run_bucket(struct unit_bucket *u)
{
	u->bucket = bucket(u->value);
	return 0;
}

struct unit_below {
	__u32 random;
	__u32 n;
	__u32 result;	/* out */
	__u32 pad;
};

SEC("syscall")
int run_below(struct unit_below *u)
{
	u->result = below(u->random, u->n);
	return 0;
}

struct unit_addr {
	struct addr addr;	/* in, out: normalised */
	__u32 v4;	/* out; of the address before */
	__u32 any;
	__u32 loopback;
	__u32 pad;
};

SEC("syscall")
int run_addr(struct unit_addr *u)
{
	struct addr a = u->addr;

	u->v4 = addr_is_v4(&a);
	u->any = addr_is_any(&a);
	u->loopback = addr_is_loopback(&a);
	addr_normalise(&a);
	u->addr = a;
	return 0;
}

struct unit_failure {
	__s32 err;
	__u32 index;	/* out: which word of struct flow_failures counts it */
};

SEC("syscall")
int run_failure(struct unit_failure *u)
{
	struct flow_failures f = {};
	__u64 *word = failure_of(&f, u->err), *all = (__u64 *)&f;

	*word = 1;
	u->index = ~0u;
	for (__u32 i = 0; i < sizeof(f) / sizeof(*all); i++)
		if (all[i])
			u->index = i;
	return 0;
}

/* The entries of inner maps are declared by size: their types reach Go only if something names them. */
const struct target_head *target_head_for_go __attribute__((unused));
const struct target_share *target_share_for_go __attribute__((unused));
const struct cluster_head *cluster_head_for_go __attribute__((unused));
const struct cluster_slot *cluster_slot_for_go __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";
