// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/leno-mesh/leno/internal/agent"
	"github.com/leno-mesh/leno/internal/dataplane"
)

func newDownCommand() *cobra.Command {
	var stateDir, pinDir string
	c := &cobra.Command{
		Use: "down", Short: "Stop the agent if one runs, and remove everything from the kernel", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := down(c.Context(), stateDir, pinDir); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "leno is down: nothing is attached")
			return nil
		},
	}
	c.Flags().StringVar(&stateDir, "state-dir", agent.DefaultStateDir, "folder of the admin socket")
	c.Flags().StringVar(&pinDir, "pin-dir", dataplane.DefaultPinDir, "where the kernel half is pinned")
	return c
}

// down asks a running agent to detach and waits until it is gone; without one it removes the pins itself.
func down(ctx context.Context, stateDir, pinDir string) error {
	agentSocket := newClient(stateDir)
	st, err := agentSocket.status(ctx)
	if err != nil {
		// Nobody answers: a crash or SIGTERM left the pins, or there is nothing.
		return dataplane.Remove(pinDir)
	}
	if err := agentSocket.post(ctx, "/leno/down"); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent (pid %d) is still draining: %w", st.PID, ctx.Err())
		case <-tick.C:
		}
		if _, err := agentSocket.status(ctx); err != nil {
			return dataplane.Remove(pinDir)
		}
	}
}
