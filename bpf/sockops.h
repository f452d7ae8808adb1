/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sockops: the life of claimed connections, counted by the kernel whoever closes them.
 *
 *   tcp_connect -> TCP_CONNECT_CB; tcp_set_state -> STATE_CB (asked for in the former) */
#ifndef LENO_SOCKOPS_H
#define LENO_SOCKOPS_H

#include "flow.h"
#include "handshake.h"

static __always_inline void conn_syn(struct bpf_sock_ops *ctx, struct conn *c)
{
	struct flow *f;

	if (c->phase != CONN_PICKED)
		return;	/* parked: the agent counts it */
	c->phase = CONN_SYN;
	c->since_ns = bpf_ktime_get_ns();
	active_add(c, 1);
	f = flow_row(c->listener, c->cluster, c->endpoint);
	if (f)
		__sync_fetch_and_add(&f->attempted, 1);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void conn_opened(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct conn *c)
{
	__u64 now = bpf_ktime_get_ns(), us = (now - c->since_ns) / 1000;
	struct flow *f = flow_row(c->listener, c->cluster, c->endpoint);

	handshake_ended(ctx, sk, c);
	c->phase = CONN_OPEN;
	c->since_ns = now;
	if (!f)
		return;	/* cannot be: row 0,0,0 */
	__sync_fetch_and_add(&f->opened, 1);
	__sync_fetch_and_add(&f->connect_us_sum, us);
	hist_add(f->connect_us, us);
}

static __always_inline void conn_failed(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct conn *c)
{
	struct flow *f = flow_row(c->listener, c->cluster, c->endpoint);
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	int err = tp ? BPF_CORE_READ((struct sock *)tp, sk_err) : -1;

	handshake_ended(ctx, sk, c);
	c->phase = CONN_CLOSED;
	active_add(c, -1);
	if (f)
		__sync_fetch_and_add(failure_of(&f->failed, err), 1);
}

static __always_inline void conn_closed(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct conn *c)
{
	struct flow *f = flow_row(c->listener, c->cluster, c->endpoint);
	__u64 ms = (bpf_ktime_get_ns() - c->since_ns) / 1000000;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 fin;

	c->phase = CONN_CLOSED;
	active_add(c, -1);
	if (!f)
		return;	/* cannot be: row 0,0,0 */
	__sync_fetch_and_add(&f->closed, 1);
	__sync_fetch_and_add(&f->lifetime_ms_sum, ms);
	hist_add(f->lifetime_ms, ms);
	if (!tp)
		return;	/* cannot be: TCP calls us with a full socket */
	__sync_fetch_and_add(&f->tx_bytes, tp->bytes_sent - tp->bytes_retrans);
	/* A FIN takes a sequence number, which the kernel counts as a received byte (net/ipv4/tcp_input.c, tcp_data_queue). */
	fin = BPF_CORE_READ((struct sock *)tp, __sk_common.skc_flags) >> SOCK_DONE & 1;
	__sync_fetch_and_add(&f->rx_bytes, ctx->bytes_received - fin);
}

SEC("sockops")
int leno_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;
	struct conn *c;

	/* Everything else that a socket reports is none of ours, and most frequent: decide before any lookup. */
	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    !(ctx->op == BPF_SOCK_OPS_STATE_CB && (ctx->args[1] == BPF_TCP_ESTABLISHED || ctx->args[1] == BPF_TCP_CLOSE)))
		return 1;
	sk = ctx->sk;
	if (!sk)
		return 1;	/* a request socket: none that a program connected */
	c = bpf_sk_storage_get(&conns, sk, NULL, 0);
	if (!c)
		return 1;	/* not claimed */
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		conn_syn(ctx, c);
	else if (c->phase == CONN_SYN && ctx->args[1] == BPF_TCP_ESTABLISHED)
		conn_opened(ctx, sk, c);
	else if (c->phase == CONN_SYN && ctx->args[1] == BPF_TCP_CLOSE)
		conn_failed(ctx, sk, c);
	else if (c->phase == CONN_OPEN && ctx->args[1] == BPF_TCP_CLOSE)
		conn_closed(ctx, sk, c);
	return 1;
}

#endif
