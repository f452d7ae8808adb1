// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"
	"io"
	"strings"
)

// Dump writes one line per row, in the order of ids: readable, and stable enough to compare.
func (t *Tables) Dump(w io.Writer) {
	for _, s := range t.Scopes {
		fmt.Fprintf(w, "scope %d %s\n", s.ID, s.Cgroup)
	}
	for _, l := range t.Listeners {
		fmt.Fprintf(w, "listener %d scope=%d %s %s bound=%t v4_compat=%t tier=%s", l.ID, l.Scope, l.Address, l.Name, l.Bound, l.V4Compat, l.Tier)
		for _, s := range l.Shares {
			fmt.Fprintf(w, " cluster %d x %d", s.Cluster, s.Weight)
		}
		if l.Tombstone != "" {
			fmt.Fprintf(w, " tombstone=%q", l.Tombstone)
		}
		fmt.Fprintln(w)
	}
	for _, c := range t.Clusters {
		var slots strings.Builder
		for _, s := range c.Slots {
			fmt.Fprintf(&slots, " %d=%s", s.Endpoint, s.Address)
		}
		fmt.Fprintf(w, "cluster %d %s in %s %s choices=%d max_connections=%d connect_timeout=%dms tombstone=%t:%s\n", c.ID,
			c.Cluster.Name, c.Cluster.Scope, c.Balance, c.Choices, c.MaxConnections, c.ConnectTimeoutMS, c.Tombstone, slots.String())
	}
}

// String is the word of the dump.
func (b Balance) String() string {
	return [...]string{"ring", "random", "least"}[b]
}
