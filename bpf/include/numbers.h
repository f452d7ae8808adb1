/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers of the kernel's interface that its BPF headers leave out (asm-generic/errno.h, linux/tcp.h, linux/in.h). */
#ifndef LENO_NUMBERS_H
#define LENO_NUMBERS_H

#define ECONNRESET 104
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTUNREACH 113
#define ENETUNREACH 101

#define SOCK_STREAM 1
#define SOCK_DONE 1	/* bit of sk_flags: the peer's FIN was received (include/net/sock.h, enum sock_flags) */
#define AF_INET6 10
#define LOOPBACK_IFINDEX 1
#define IPPROTO_TCP 6
#define TCP_USER_TIMEOUT 18

#ifndef NULL
#define NULL ((void *)0)
#endif

#endif
