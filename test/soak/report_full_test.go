// SPDX-License-Identifier: Apache-2.0

//go:build full

package main

import (
	"encoding/json"
	"os"
	"testing"
)

// TestReport checks that the last long run is there, was long enough and found nothing.
func TestReport(t *testing.T) {
	data, err := os.ReadFile("../soak.json")
	if err != nil {
		t.Fatalf("%v: run `make soak`", err)
	}
	var r struct {
		Commit, Kernel string
		Generated      struct{ Configurations, Requests, Differences int }
		Faults         struct{ Seconds, Requests, Wrong, Failures int }
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Commit == "" || r.Kernel == "" {
		t.Errorf("soak.json does not say of which commit (%q) and kernel (%q) it is", r.Commit, r.Kernel)
	}
	if g := r.Generated; g.Configurations < 1000 || g.Requests < 100_000 || g.Differences != 0 {
		t.Errorf("generated: %+v, want at least 1,000 configurations and 100,000 requests without a difference", g)
	}
	if f := r.Faults; f.Seconds < 600 || f.Requests == 0 || f.Wrong != 0 || f.Failures != 0 {
		t.Errorf("faults: %+v, want at least 600 s without a failure", f)
	}
}
