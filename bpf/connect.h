/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cgroup/connect4, connect6: where a TCP connect goes.
 *
 *   connect(2) -> __inet_stream_connect -> tcp_v[46]_pre_connect -> here -> tcp_v[46]_connect
 *
 * The address is rewritten before the route is looked up; the program's sockaddr is the kernel's copy. */
#ifndef LENO_CONNECT_H
#define LENO_CONNECT_H

#include "flow.h"
#include "handshake.h"
#include "lookup.h"
#include "pick.h"
#include "whoami.h"

#define REFUSE 0
#define ALLOW 1

/* What a connect became. */
struct destination {
	struct addr addr;
	__u16 port;
	__u16 rewrite;	/* 0: leave the address alone */
};

static __always_inline int refuse(__u32 why)
{
	count(why);
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

static __always_inline int agent_lives(const struct settings *s)
{
	/* Signed: the agent may write a newer time between our two reads. */
	return (__s64)(bpf_ktime_get_ns() - s->heartbeat_ns) < (__s64)s->agent_dead_ns;
}

static __always_inline void want_park(const struct dial *d, __u32 listener, enum counter why)
{
	struct park_wanted *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		count(COUNT_PARK_EVENT_LOST);
		return;
	}
	e->netns = d->netns;
	e->listener = listener;
	e->tgid = bpf_get_current_pid_tgid() >> 32;
	e->family = d->family;
	e->why = why;
	bpf_ringbuf_submit(e, 0);
}

static __always_inline struct conn *remember(struct bpf_sock *sk, const struct dial *d, __u32 listener, __u32 phase)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!c)
		return NULL;
	c->asked = d->addr;
	c->asked_port = d->port;
	c->family = d->family;
	c->listener = listener;
	c->cluster = 0;
	c->endpoint = 0;
	c->since_ns = bpf_ktime_get_ns();
	c->phase = phase;
	return c;
}

/* Whether the agent's socket still listens there: after a crash the port is free for whoever comes. */
static __always_inline int listens(struct bpf_sock_addr *ctx, const struct park *p)
{
	__u64 cookie = p->cookie, found = 0;
	struct bpf_sock_tuple t = {};
	struct tcp_sock *tp;
	struct bpf_sock *sk;

	if (addr_is_v4(&p->addr)) {
		t.ipv4.daddr = addr_word(&p->addr, 3);
		t.ipv4.dport = bpf_htons(p->port);
		sk = bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(t.ipv6.daddr, &p->addr, sizeof(p->addr));
		t.ipv6.dport = bpf_htons(p->port);
		sk = bpf_skc_lookup_tcp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		found = BPF_CORE_READ((struct sock *)tp, __sk_common.skc_cookie.counter);
	bpf_sk_release(sk);
	return found == cookie;
}

/* To the agent: its bound socket is where the program dials already; else to its socket in this namespace. */
static __always_inline int to_agent(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct settings *s, const struct dial *d,
				    const struct owner *o, enum counter why, struct destination *to)
{
	struct park_key key = { .netns = d->netns, .listener = o->listener, .family = d->family };
	struct park *p;

	if (o->head->flags & LISTENER_BOUND) {
		count(why);
		return ALLOW;
	}
	if (!agent_lives(s))
		return refuse(COUNT_REFUSED_AGENT_DEAD);
	if (sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_IFINDEX)
		return refuse(COUNT_REFUSED_NO_PARK);	/* the agent's socket is on loopback: the SYN would get lost */
	p = bpf_map_lookup_elem(&parks, &key);
	if (!p) {
		want_park(d, o->listener, why);
		return refuse(COUNT_REFUSED_NO_PARK);
	}
	if (!listens(ctx, p))
		return refuse(COUNT_REFUSED_AGENT_DEAD);
	if (!remember(sk, d, o->listener, CONN_PARKED))
		return refuse(COUNT_REFUSED_STORAGE);
	to->addr = p->addr;
	to->port = p->port;
	to->rewrite = 1;
	count(why);
	return ALLOW;
}

/* Why the chosen slot cannot be dialled by this socket itself; 0 if it can. */
static __always_inline __u32 needs_agent(const struct settings *s, const struct dial *d,
					 const struct cluster_slot *slot, const struct cluster_head *h, __u32 cluster)
{
	__u64 *n;

	if (addr_is_v4(&slot->addr) != addr_is_v4(&d->addr))
		return COUNT_CONNECT_AGENT_FAMILY;
	if ((slot->flags & SLOT_LOCAL_TO_AGENT) && d->netns != s->agent_netns)
		return COUNT_CONNECT_AGENT_NETNS;
	n = bpf_map_lookup_elem(&cluster_active, &cluster);
	if (n && *n >= h->max_connections && active_at(slot->endpoint) > 0)
		return COUNT_CONNECT_AGENT_OVERFLOW;
	return 0;
}

static __always_inline int to_endpoint(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct settings *s, const struct dial *d,
				       const struct owner *o, struct destination *to)
{
	__u32 zero = 0, cluster, why, share;
	struct cluster_slot *slot;
	union cluster_entry *e;
	struct flow *f;
	struct conn *c;
	union target *t;
	void *rows;

	if (!o->head->total_weight)
		return refuse(COUNT_REFUSED_NO_ENDPOINT);
	share = pick_share(o->rows, o->head->shares, below(bpf_get_prandom_u32(), o->head->total_weight));
	t = share ? bpf_map_lookup_elem(o->rows, &share) : NULL;
	if (!t)
		return refuse(COUNT_REFUSED_STALE);
	cluster = t->share.cluster;
	rows = bpf_map_lookup_elem(&clusters, &cluster);
	e = rows ? bpf_map_lookup_elem(rows, &zero) : NULL;
	if (!e || (e->head.flags & CLUSTER_TOMBSTONE))
		return refuse(COUNT_REFUSED_NO_ENDPOINT);
	slot = pick_slot(rows, &e->head, cluster);
	if (!slot)
		return refuse(COUNT_REFUSED_NO_ENDPOINT);
	why = needs_agent(s, d, slot, &e->head, cluster);
	if (why)
		return to_agent(ctx, sk, s, d, o, why, to);
	c = remember(sk, d, o->listener, CONN_PICKED);
	if (!c)
		return refuse(COUNT_REFUSED_STORAGE);
	c->cluster = cluster;
	c->endpoint = slot->endpoint;
	bound_handshake(ctx, sk, c, e->head.connect_timeout_ms);
	f = flow_row(o->listener, cluster, slot->endpoint);
	if (f)
		__sync_fetch_and_add(&f->picked, 1);
	to->addr = slot->addr;
	to->port = slot->port;
	to->rewrite = 1;
	count(COUNT_CONNECT_ENDPOINT);
	return ALLOW;
}

/* An IPv4 socket's IPv6 words are not its own: after a failed connect they keep the v4-mapped source address
 * (include/net/inet_sock.h, sk_rcv_saddr_set and inet_reset_saddr). ::ffff:0.0.0.0 is unspecified too. */
static __always_inline int is_bound_socket(struct bpf_sock *sk)
{
	if (sk->bound_dev_if || sk->src_ip4)
		return 1;
	if (sk->family != AF_INET6)
		return 0;
	return sk->src_ip6[0] || sk->src_ip6[1] || sk->src_ip6[3] || (sk->src_ip6[2] && sk->src_ip6[2] != bpf_htonl(0xffff));
}

static __always_inline int connect_owned(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct settings *s, const struct dial *d,
					 const struct owner *o, struct destination *to)
{
	__u32 flags = o->head->flags;

	if (flags & LISTENER_TOMBSTONE)
		return refuse(COUNT_REFUSED_TOMBSTONE);
	if (flags & LISTENER_PROXY)
		return to_agent(ctx, sk, s, d, o, COUNT_CONNECT_AGENT, to);
	/* The program chose its route; an endpoint may not lie on it. */
	if (is_bound_socket(sk))
		return to_agent(ctx, sk, s, d, o, COUNT_CONNECT_AGENT_BOUND, to);
	return to_endpoint(ctx, sk, s, d, o, to);
}

/* An earlier connect of this socket may have failed before its SYN; what it remembered is no longer true. */
static __always_inline void forget(void *ctx, struct bpf_sock *sk)
{
	struct conn *c = bpf_sk_storage_get(&conns, sk, NULL, 0);

	if (!c)
		return;
	handshake_ended(ctx, sk, c);
	bpf_sk_storage_delete(&conns, sk);
}

/* Decides one connect. `d` has address, port and family; the rest is filled here. */
static __always_inline int connect_decide(struct bpf_sock_addr *ctx, struct dial *d, struct destination *to)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct owner o;

	if (!s || !sk)
		return ALLOW;	/* cannot be: an array's row, and connect always has a socket */
	if (ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP) {
		count(COUNT_PASS_PROTOCOL);
		return ALLOW;
	}
	if (is_agent(s)) {
		count(COUNT_PASS_AGENT);
		return ALLOW;
	}
	forget(ctx, sk);
	d->scope = scope_of(sk, s->levels);
	if (!d->scope) {
		count(COUNT_PASS_SCOPE);
		return ALLOW;
	}
	d->netns = bpf_get_netns_cookie(ctx);
	addr_normalise(&d->addr);
	o = owner_of(d);
	if (o.stale)
		return refuse(COUNT_REFUSED_STALE);
	if (!o.head) {
		count(COUNT_PASS_LISTENER);
		return ALLOW;
	}
	return connect_owned(ctx, sk, s, d, &o, to);
}

SEC("cgroup/connect4")
int leno_connect4(struct bpf_sock_addr *ctx)
{
	struct dial d = {
		.addr = addr_from4(ctx->user_ip4), .port = bpf_ntohs(ctx->user_port), .family = 4,
	};
	struct destination to = {};
	int verdict = connect_decide(ctx, &d, &to);

	if (to.rewrite) {
		ctx->user_ip4 = addr_word(&to.addr, 3);
		ctx->user_port = bpf_htons(to.port);
	}
	return verdict;
}

SEC("cgroup/connect6")
int leno_connect6(struct bpf_sock_addr *ctx)
{
	struct dial d = { .port = bpf_ntohs(ctx->user_port), .family = 6 };
	struct destination to = {};
	__u32 w[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	int verdict;

	__builtin_memcpy(&d.addr, w, sizeof(w));
	verdict = connect_decide(ctx, &d, &to);
	if (to.rewrite) {
		ctx->user_ip6[0] = addr_word(&to.addr, 0);
		ctx->user_ip6[1] = addr_word(&to.addr, 1);
		ctx->user_ip6[2] = addr_word(&to.addr, 2);
		ctx->user_ip6[3] = addr_word(&to.addr, 3);
		ctx->user_port = bpf_htons(to.port);
	}
	return verdict;
}

#endif
