// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/dataplane"
	"github.com/leno-mesh/leno/internal/demo"
)

func newDemoCommand() *cobra.Command {
	var hold bool
	c := &cobra.Command{
		Use: "demo", Short: "Move a traffic split live, under load, and prove it", Args: cobra.NoArgs,
		Long: `Start two versions of an HTTP and of a TCP service in network namespaces of their own, steady load, and an agent
on watched files. Move the split from version one to version two by editing the files, kill the agent once and
start it again, and show what every client saw. The exit status is 0 if the shares were right and nothing failed
that must not. It takes less than a minute, needs root and leaves nothing behind.`,
		RunE: func(c *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the leno binary: %w", err)
			}
			mount, err := dataplane.CgroupMount()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			return demo.New(demo.Options{Leno: self, CgroupMount: mount, BPFMount: filepath.Dir(dataplane.DefaultPinDir),
				Out: os.Stdout, Terminal: isTerminal(os.Stdout), Hold: hold}).Run(ctx)
		},
	}
	c.Flags().BoolVar(&hold, "hold", false, "keep it running and say what to try by hand")
	c.AddCommand(newDemoServerCommand(), newDemoClientCommand())
	return c
}

func newDemoServerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "server SERVICE VERSION ADDRESS", Hidden: true, Args: cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, a []string) error { return demo.Serve(a[0], a[1], a[2], os.Stdin) },
	}
}

func newDemoClientCommand() *cobra.Command {
	return &cobra.Command{
		Use: "client HTTP TCP DIRECT-HTTP DIRECT-TCP", Hidden: true, Args: cobra.ExactArgs(4),
		RunE: func(_ *cobra.Command, a []string) error {
			return demo.Client(demo.Targets{HTTP: a[0], TCP: a[1], DirectHTTP: a[2], DirectTCP: a[3]}, os.Stdin, os.Stdout)
		},
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
