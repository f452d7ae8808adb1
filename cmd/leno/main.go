// SPDX-License-Identifier: Apache-2.0

// Command leno is the agent and the tools around it. Noun commands read, verb
// commands change. It parses flags and prints; what it prints is decided
// elsewhere.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build (-ldflags -X main.version=...).
var version = ""

func main() {
	root := newRootCommand()
	err := root.Execute()
	var exit exitCode
	switch {
	case err == nil:
	case errors.As(err, &exit):
		os.Exit(int(exit))
	default:
		fmt.Fprintln(os.Stderr, "leno:", err)
		os.Exit(1)
	}
}

// exitCode ends the program with a status after everything was already said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func newRootCommand() *cobra.Command {
	c := &cobra.Command{
		Use:           "leno",
		Short:         "A service mesh data plane that takes Envoy's configuration and works in the kernel",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.AddCommand(
		newRunCommand(), newCheckCommand(), newExplainCommand(), newStatusCommand(),
		newExecCommand(), newDownCommand(), newDemoCommand(), newVersionCommand(),
	)
	return c
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			fmt.Fprintln(c.OutOrStdout(), "leno", versionString())
			return nil
		},
	}
}

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// output is the -o flag that commands share.
type output string

func (o *output) flag(c *cobra.Command) {
	*o = "text"
	c.Flags().VarP(o, "output", "o", "text or json")
}

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "format" }
func (o *output) Set(s string) error {
	if s != "text" && s != "json" {
		return errors.New("must be text or json")
	}
	*o = output(s)
	return nil
}

// print writes v as JSON, or calls text.
func (o output) print(w io.Writer, v any, text func(io.Writer)) error {
	if o == "json" {
		return writeJSON(w, v)
	}
	text(w)
	return nil
}
