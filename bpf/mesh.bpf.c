/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one translation unit of the kernel half. */
#include "include/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "include/numbers.h"
#include "types.h"
#include "maps.h"

#include "connect.h"
#include "names.h"
#include "sockops.h"

/* Inner maps are declared by size, so their types reach Go only if something names them. */
const struct target_head *target_head_for_go __attribute__((unused));
const struct target_share *target_share_for_go __attribute__((unused));
const struct cluster_head *cluster_head_for_go __attribute__((unused));
const struct cluster_slot *cluster_slot_for_go __attribute__((unused));
const struct park_wanted *park_wanted_for_go __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";
