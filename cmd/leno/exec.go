// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/agent"
	"github.com/leno-mesh/leno/internal/dataplane"
)

func newExecCommand() *cobra.Command {
	var cgroup, stateDir string
	c := &cobra.Command{
		Use:   "exec [--cgroup PATH] -- CMD [ARG...]",
		Short: "Run a program inside a managed cgroup",
		Long: `Run a program in a new sub-cgroup of PATH, or of the one cgroup that the running agent manages. When PATH is a
systemd slice and systemd runs here, the program gets a transient scope of that slice instead. The exit status is the program's.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if cgroup == "" {
				st, err := newClient(stateDir).status(c.Context())
				if err != nil {
					return err
				}
				if len(st.Scopes) != 1 {
					return fmt.Errorf("the agent manages %d cgroups: choose one with --cgroup", len(st.Scopes))
				}
				cgroup = st.Scopes[0].Cgroup
			}
			return execIn(cleanCgroup(cgroup), args)
		},
	}
	c.Flags().StringVar(&cgroup, "cgroup", "", "cgroup below the cgroup2 mount; default: the one that the agent manages")
	c.Flags().StringVar(&stateDir, "state-dir", agent.DefaultStateDir, "folder of the admin socket")
	return c
}

func execIn(cgroup string, args []string) error {
	if slice := path.Base(cgroup); path.Ext(slice) == ".slice" && underSystemd() {
		return runChild(exec.Command("systemd-run",
			append([]string{"--scope", "--quiet", "--slice=" + slice, "--"}, args...)...))
	}
	mount, err := dataplane.CgroupMount()
	if err != nil {
		return err
	}
	parent := filepath.Join(mount, cgroup)
	if _, err := os.Stat(parent); err != nil {
		return fmt.Errorf("cgroup %s does not exist: create it with mkdir, or choose another with --cgroup: %w", cgroup, err)
	}
	dir, err := os.MkdirTemp(parent, "leno-exec-")
	if err != nil {
		return fmt.Errorf("make a cgroup for the program below %s: %w", cgroup, err)
	}
	// What the program left running keeps the cgroup; it goes with the last of them.
	defer os.Remove(dir)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the program's cgroup: %w", err)
	}
	defer unix.Close(fd)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	return runChild(cmd)
}

func underSystemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// runChild runs cmd on our terminal, passes signals on and turns its end into ours.
func runChild(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 8)
	// The terminal sends Ctrl-C to both; we must outlive the program to report its status.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		for s := range signals {
			if s != os.Interrupt {
				// It may have ended just now; Wait below tells.
				_ = cmd.Process.Signal(s)
			}
		}
	}()
	err := cmd.Wait()
	signal.Stop(signals)
	close(signals)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return exitCode(128 + int(ws.Signal()))
		}
		return exitCode(exit.ExitCode())
	}
	return err
}
