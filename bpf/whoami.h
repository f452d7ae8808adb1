/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Run once by the agent: under which number do the hooks see it? Exact also inside a pid namespace. */
#ifndef LENO_WHOAMI_H
#define LENO_WHOAMI_H

#include "maps.h"

SEC("syscall")
int leno_whoami(void *ctx)
{
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);

	if (s)
		s->agent_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

#endif
