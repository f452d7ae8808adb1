// SPDX-License-Identifier: Apache-2.0

// Package kern is the kernel half as Go sees it: the object compiled from
// bpf/ and the types that both halves share. Everything but this file is
// generated and committed; nothing here decides anything.
package kern

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package kern -type addr -type listener_key -type listener_flag -type target_head -type target_share -type policy -type cluster_flag -type cluster_head -type slot_flag -type cluster_slot -type park_key -type park -type local_key -type conn_phase -type conn -type flow_key -type flow_failures -type flow -type counter -type park_wanted -type cluster_name C ../../bpf/mesh.bpf.c -- -O2 -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3 -I../../bpf -I/usr/include/x86_64-linux-gnu
