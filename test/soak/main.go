// SPDX-License-Identifier: Apache-2.0

// Soak writes test/soak.json from what the two long runs of `make soak` found:
//
//	go run ./test/soak GENERATED FAULTS > test/soak.json
//
// GENERATED is the report of test/oracle (generated configurations through Envoy and leno), FAULTS that of test/faults (random
// faults and edits under load).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// report is test/soak.json.
type report struct {
	Commit    string          `json:"commit"`
	Kernel    string          `json:"kernel"`
	Generated json.RawMessage `json:"generated"`
	Faults    json.RawMessage `json:"faults"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(files []string) error {
	if len(files) != 2 {
		return fmt.Errorf("want two reports, got %d", len(files))
	}
	var r report
	var err error
	if r.Commit, err = output("git", "describe", "--always", "--dirty"); err != nil {
		return err
	}
	if r.Kernel, err = output("uname", "-r"); err != nil {
		return err
	}
	for i, into := range []*json.RawMessage{&r.Generated, &r.Faults} {
		if *into, err = os.ReadFile(files[i]); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("reports %s and %s: %w", files[0], files[1], err)
	}
	fmt.Printf("%s\n", text)
	return nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}
