// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Children are Go programs that live inside the test binary and are started as processes of their own, because a
// socket belongs to the cgroup of the process that makes it. Each gets its arguments and returns its error.
type Children map[string]func(args []string) error

// Main is for TestMain: it runs a child if this process was started as one; otherwise it builds leno, unless LENO_BIN
// names a binary, and runs the tests. It returns the exit status.
func Main(m *testing.M, children Children) int {
	if name := os.Getenv("LENO_TEST_CHILD"); name != "" {
		if err := children[name](os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			return 1
		}
		return 0
	}
	if os.Getenv("LENO_BIN") == "" {
		dir, err := os.MkdirTemp("", "leno-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // tests also run it as another user
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		path := filepath.Join(dir, "leno")
		build := exec.Command("go", "build", "-o", path, "github.com/leno-mesh/leno/cmd/leno")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build leno: %v\n%s", err, out)
			return 1
		}
		if err := os.Setenv("LENO_BIN", path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// Child is the program that runs the named child of this test binary.
func (r *Rig) Child(name string, args ...string) Program {
	r.T.Helper()
	self, err := os.Executable()
	if err != nil {
		r.T.Fatal(err)
	}
	return Program{Args: append([]string{self}, args...), Env: []string{"LENO_TEST_CHILD=" + name}}
}
