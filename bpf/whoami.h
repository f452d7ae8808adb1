/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Run once by the agent: under which numbers do the hooks see it? Exact also inside a pid namespace. */
#ifndef LENO_WHOAMI_H
#define LENO_WHOAMI_H

struct whoami {
	__u32 tgid;
	__u32 pad;
};

SEC("syscall")
int leno_whoami(struct whoami *w)
{
	w->tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

#endif
