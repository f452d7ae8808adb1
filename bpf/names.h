/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cgroup/getpeername, getsockname: a claimed socket shows the addresses that the program asked for. */
#ifndef LENO_NAMES_H
#define LENO_NAMES_H

#include "addr.h"
#include "maps.h"

static __always_inline struct conn *claimed(struct bpf_sock_addr *ctx)
{
	struct conn *c;

	if (!ctx->sk)
		return NULL;
	c = bpf_sk_storage_get(&conns, ctx->sk, NULL, 0);
	return c && c->phase != CONN_NONE ? c : NULL;
}

SEC("cgroup/getpeername4")
int leno_getpeername4(struct bpf_sock_addr *ctx)
{
	struct conn *c = claimed(ctx);

	if (c) {
		ctx->user_ip4 = addr_word(&c->asked, 3);
		ctx->user_port = bpf_htons(c->asked_port);
	}
	return 1;
}

SEC("cgroup/getpeername6")
int leno_getpeername6(struct bpf_sock_addr *ctx)
{
	struct conn *c = claimed(ctx);

	if (c) {
		ctx->user_ip6[0] = addr_word(&c->asked, 0);
		ctx->user_ip6[1] = addr_word(&c->asked, 1);
		ctx->user_ip6[2] = addr_word(&c->asked, 2);
		ctx->user_ip6[3] = addr_word(&c->asked, 3);
		ctx->user_port = bpf_htons(c->asked_port);
	}
	return 1;
}

/* Who dials loopback has a loopback address of its own. Any other local address is shown as it is: which one the
 * program would have had on the way that it asked for is not known here. */
static __always_inline int hides(const struct conn *c, const struct addr *own)
{
	return addr_is_loopback(&c->asked) && !addr_is_loopback(own) && !addr_is_any(own);
}

SEC("cgroup/getsockname4")
int leno_getsockname4(struct bpf_sock_addr *ctx)
{
	struct addr own = addr_from4(ctx->user_ip4);
	struct conn *c = claimed(ctx);

	if (c && hides(c, &own))
		ctx->user_ip4 = bpf_htonl(0x7f000001);
	return 1;
}

SEC("cgroup/getsockname6")
int leno_getsockname6(struct bpf_sock_addr *ctx)
{
	__u32 w[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	struct conn *c = claimed(ctx);
	struct addr own;
	int v4;

	__builtin_memcpy(&own, w, sizeof(w));
	if (!c || !hides(c, &own))
		return 1;
	v4 = addr_is_v4(&c->asked);
	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	ctx->user_ip6[2] = v4 ? bpf_htonl(0xffff) : 0;
	ctx->user_ip6[3] = v4 ? bpf_htonl(0x7f000001) : bpf_htonl(1);
	return 1;
}

#endif
