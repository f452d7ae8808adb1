/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose is this connect: the scope of a socket, and the listener of an address in it. */
#ifndef LENO_LOOKUP_H
#define LENO_LOOKUP_H

#include "addr.h"
#include "maps.h"

#define LENO_MAX_LEVEL 31	/* deepest cgroup that can be a scope */

struct scope_search {
	struct cgroup *cgroup;	/* the socket's */
	__u32 levels;	/* settings.levels */
	__s32 depth;
	__u32 found;
};

/* One step of bpf_loop, from the socket's own level up; a plain loop costs the verifier a million instructions. */
static long scope_at(__u32 step, struct scope_search *s)
{
	__s32 level = s->depth - step;
	struct cgroup *own = s->cgroup, *above = NULL;
	__u32 *scope;
	__u64 id;

	if (level < 0 || level > LENO_MAX_LEVEL || !(s->levels & (1u << level)))
		return 0;
	bpf_core_read(&above, sizeof(above), &own->ancestors[0] + level);
	id = BPF_CORE_READ(above, kn, id);
	scope = bpf_map_lookup_elem(&scopes, &id);
	if (!scope)
		return 0;
	s->found = *scope;
	return 1;
}

/* The innermost managed cgroup above the socket's own; 0: none. The socket's cgroup and not the task's, so that a
 * socket belongs to the same scope whoever uses it, and sockops (which has no task) agrees with connect. */
static __always_inline __u32 scope_of(struct bpf_sock *sk, __u32 levels)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct scope_search s = { .levels = levels };
	struct cgroup *own;

	if (!tp)
		return 0;	/* cannot be: the caller has seen that it is TCP */
	own = ((struct sock *)tp)->sk_cgrp_data.cgroup;
	s.cgroup = own;
	s.depth = own->level;
	bpf_loop(s.depth + 1, scope_at, &s, 0);
	return s.found;
}

/* What is dialled. */
struct dial {
	struct addr addr;	/* normalised: never unspecified */
	__u64 netns;
	__u32 scope;
	__u16 port;
	__u16 family;	/* of the sockaddr: 4 or 6 */
};

/* The listener found, and the rows of its split. */
struct owner {
	struct target_head *head;	/* NULL: nobody owns the address */
	void *rows;
	__u32 listener;
	__u32 stale;	/* the row no longer belongs to its key: refuse */
};

static __always_inline int is_local(const struct dial *d)
{
	struct local_key key = { .netns = d->netns, .addr = d->addr };

	return addr_is_loopback(&d->addr) || bpf_map_lookup_elem(&locals, &key);
}

static __always_inline int same_key(const struct listener_key *a, const struct listener_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	_Static_assert(sizeof(*a) == 32, "compared by words");
	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

/* Whether a wildcard listener of these flags takes the address. */
static __always_inline int wildcard_takes(__u32 flags, const struct dial *d)
{
	if (!(flags & (addr_is_v4(&d->addr) ? LISTENER_V4 : LISTENER_V6)))
		return 0;
	return !(flags & LISTENER_LOCAL_ONLY) || is_local(d);
}

static __always_inline struct owner owner_at(const struct listener_key *key)
{
	struct owner o = {};
	__u32 zero = 0, *id = bpf_map_lookup_elem(&listeners, key);
	union target *t;

	if (!id)
		return o;
	o.listener = *id;
	o.rows = bpf_map_lookup_elem(&targets, &o.listener);
	t = o.rows ? bpf_map_lookup_elem(o.rows, &zero) : NULL;
	if (t && same_key(&t->head.key, key))
		o.head = &t->head;
	else
		o.stale = 1;
	return o;
}

/* Exact before wildcard, 0.0.0.0 before [::], this namespace before every namespace. */
static __always_inline struct owner owner_of(const struct dial *d)
{
	struct listener_key key = { .scope = d->scope, .port = d->port };
	const struct addr any6 = {}, any4 = addr_from4(0);
	struct owner o = {};

	for (int i = 0; i < 6; i++) {
		key.netns = i & 1 ? 0 : d->netns;
		key.addr = i < 2 ? d->addr : i < 4 ? any4 : any6;
		o = owner_at(&key);
		if (o.stale)
			return o;
		if (o.head && (i < 2 || wildcard_takes(o.head->flags, d)))
			return o;
		o.head = NULL;
	}
	return o;
}

#endif
