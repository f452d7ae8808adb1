// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestExamplesLoad(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		_, scope, err := Load(Options{Path: file, Cgroup: "/"})
		var invalid *Invalid
		if errors.As(err, &invalid) {
			for _, p := range invalid.Problems {
				t.Errorf("%+v", p)
			}
			continue
		}
		if err != nil || len(scope.Listeners) == 0 || len(scope.Clusters) == 0 || len(scope.Problems) != 0 {
			t.Errorf("%s: %v %+v", file, err, scope)
		}
	}
}
