/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* connect_timeout: how long a handshake may take. */
#ifndef LENO_HANDSHAKE_H
#define LENO_HANDSHAKE_H

#include "maps.h"

/* The socket's TCP_USER_TIMEOUT in ms, read where getsockopt would read it; the call itself costs more than a lookup. */
static __always_inline __u32 user_timeout(struct bpf_sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	return tp ? tp->inet_conn.icsk_user_timeout : 0;	/* never NULL: the callers have TCP sockets */
}

/* TCP_USER_TIMEOUT bounds the handshake as connect_timeout does in a proxy (net/ipv4/tcp_timer.c, tcp_write_timeout);
 * a value that the program set itself stays. */
static __always_inline void bound_handshake(void *ctx, struct bpf_sock *sk, struct conn *c, __u32 timeout_ms)
{
	int ms = timeout_ms;

	if (!ms || user_timeout(sk))
		return;
	if (!bpf_setsockopt(ctx, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)))
		c->user_timeout = ms;
}

/* The handshake is over, or never began: what was set for it goes. */
static __always_inline void handshake_ended(void *ctx, struct bpf_sock *sk, struct conn *c)
{
	int off = 0;

	if (!c->user_timeout)
		return;
	if (user_timeout(sk) == c->user_timeout)	/* else the program has set one since */
		bpf_setsockopt(ctx, IPPROTO_TCP, TCP_USER_TIMEOUT, &off, sizeof(off));
	c->user_timeout = 0;
}

#endif
