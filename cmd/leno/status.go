// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leno-mesh/leno/internal/agent"
	"github.com/leno-mesh/leno/internal/status"
)

func newStatusCommand() *cobra.Command {
	var stateDir string
	var o output
	c := &cobra.Command{
		Use: "status", Short: "Show what the running agent does, and what it could not do", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := newClient(stateDir).status(c.Context())
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), st, func(w io.Writer) { printStatus(w, st) })
		},
	}
	c.Flags().StringVar(&stateDir, "state-dir", agent.DefaultStateDir, "folder of the admin socket")
	o.flag(c)
	return c
}

func printStatus(w io.Writer, st status.Status) {
	fmt.Fprintf(w, "leno %s, pid %d, %s, up %s, tier %s\n", st.Version, st.PID, st.State,
		time.Since(st.Since).Truncate(time.Second), st.Tier)
	for _, s := range st.Scopes {
		fmt.Fprintf(w, "scope %s from %s", s.Cgroup, s.Source)
		if s.NodeID != "" {
			fmt.Fprintf(w, " as %s", s.NodeID)
		}
		fmt.Fprintln(w)
	}
	printKernel(w, st.Kernel)
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "LISTENER\tADDRESS\tTIER\tSTATE")
	for _, l := range st.Listeners {
		state := "serving"
		if l.Error != "" {
			state = "refusing: " + l.Error
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", l.Name, l.Address, l.Tier, state)
	}
	tw.Flush()
	for i, p := range st.Problems {
		if i == 0 {
			fmt.Fprintln(w, "\nPROBLEMS")
		}
		where := p.File
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", p.File, p.Line)
		}
		fmt.Fprintf(w, "%s %s %s %s: %s\n", p.Severity, where, p.Resource, p.Field, p.Message)
	}
}

func printKernel(w io.Writer, k status.Kernel) {
	if k.Off != "" {
		fmt.Fprintln(w, "kernel half: off:", k.Off)
		return
	}
	fmt.Fprintln(w, "kernel half: attached to", k.Attached)
	for _, s := range k.Foreign {
		fmt.Fprintln(w, "  also there:", s)
	}
	for _, s := range k.Missing {
		fmt.Fprintln(w, "  not available:", s)
	}
	if k.LastError != "" {
		fmt.Fprintln(w, "  last error:", k.LastError)
	}
}
