/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pure helpers over addresses. An address is IPv6 or v4-mapped IPv6, in wire order. */
#ifndef LENO_ADDR_H
#define LENO_ADDR_H

#include "types.h"

static __always_inline struct addr addr_from4(__u32 ip4_be)
{
	struct addr a = {};

	a.ip[10] = 0xff;
	a.ip[11] = 0xff;
	__builtin_memcpy(&a.ip[12], &ip4_be, 4);
	return a;
}

static __always_inline __u32 addr_word(const struct addr *a, int i)
{
	__u32 w;

	__builtin_memcpy(&w, &a->ip[i * 4], 4);
	return w;
}

static __always_inline int addr_is_v4(const struct addr *a)
{
	return !addr_word(a, 0) && !addr_word(a, 1) && addr_word(a, 2) == bpf_htonl(0xffff);
}

static __always_inline int addr_is_any(const struct addr *a)
{
	if (addr_word(a, 0) || addr_word(a, 1) || addr_word(a, 3))
		return 0;
	return !addr_word(a, 2) || addr_word(a, 2) == bpf_htonl(0xffff);
}

static __always_inline int addr_is_loopback(const struct addr *a)
{
	if (addr_is_v4(a))
		return a->ip[12] == 127;
	return !addr_word(a, 0) && !addr_word(a, 1) && !addr_word(a, 2) && addr_word(a, 3) == bpf_htonl(1);
}

/* The kernel takes a connect to the unspecified address for one to loopback (net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c). */
static __always_inline void addr_normalise(struct addr *a)
{
	if (!addr_is_any(a))
		return;
	if (addr_is_v4(a)) {
		a->ip[12] = 127;
	}
	a->ip[15] = 1;
}

#endif
