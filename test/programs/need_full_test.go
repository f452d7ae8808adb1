// SPDX-License-Identifier: Apache-2.0

//go:build full

package programs

import (
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
)

// need finds a program, installing the packages if it is missing. Debian keeps some programs outside PATH.
func need(t *testing.T, program string, packages ...string) string {
	t.Helper()
	find := func() string {
		if p, err := exec.LookPath(program); err == nil {
			return p
		}
		for _, pattern := range []string{"/usr/sbin/", "/usr/lib/postgresql/*/bin/"} {
			// The only error is a malformed pattern.
			found, _ := filepath.Glob(pattern + program)
			sort.Strings(found)
			if len(found) > 0 {
				return found[len(found)-1]
			}
		}
		return ""
	}
	if p := find(); p != "" {
		return p
	}
	if out, err := exec.Command("../install.sh", packages...).CombinedOutput(); err != nil {
		t.Fatalf("%s is missing and cannot be installed: %v\n%s", program, err, out)
	}
	if p := find(); p != "" {
		return p
	}
	t.Fatalf("packages %v are installed and there is still no %s", packages, program)
	return ""
}
