/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which process is the agent. */
#ifndef LENO_WHOAMI_H
#define LENO_WHOAMI_H

#include "maps.h"

/* When the calling process began. With its number it names a process for good: numbers are given out again. */
static __always_inline __u64 process_start_ns(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, group_leader, start_boottime);
}

static __always_inline int is_agent(const struct settings *s)
{
	return bpf_get_current_pid_tgid() >> 32 == s->agent_tgid && process_start_ns() == s->agent_start_ns;
}

/* Run once by the agent: under which number do the hooks see it? Exact also inside a pid namespace. */
SEC("syscall")
int leno_whoami(void *ctx)
{
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);

	if (s) {
		s->agent_start_ns = process_start_ns();
		s->agent_tgid = bpf_get_current_pid_tgid() >> 32;
	}
	return 0;
}

#endif
