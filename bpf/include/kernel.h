/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's types that the programs touch, and only the fields that are read: CO-RE finds their offsets in the
 * running kernel (include/linux/cgroup-defs.h, include/linux/sched.h, include/linux/tcp.h,
 * include/net/sock.h). */
#ifndef LENO_KERNEL_H
#define LENO_KERNEL_H

#include <linux/types.h>
#include <linux/bpf.h>

#define CO_RE __attribute__((preserve_access_index))

struct kernfs_node {
	__u64 id;
} CO_RE;

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[1];
} CO_RE;

struct sock_cgroup_data {
	struct cgroup *cgroup;
} CO_RE;

struct sock_common {
	unsigned long skc_flags;
	struct {
		__s64 counter;
	} skc_cookie;
} CO_RE;

struct sock {
	struct sock_common __sk_common;
	struct sock_cgroup_data sk_cgrp_data;
	int sk_err;
} CO_RE;

struct task_struct {
	struct task_struct *group_leader;
	__u64 start_boottime;
} CO_RE;

struct inet_connection_sock {
	__u32 icsk_user_timeout;
} CO_RE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_sent;
	__u64 bytes_retrans;
} CO_RE;

#endif
