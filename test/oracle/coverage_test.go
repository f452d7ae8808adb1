// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const fieldsFile = "../../docs/fields.md"

// notHere are honoured fields that the corpus cannot show, with the reason.
var notHere = map[string]string{
	"admin.address": "the comparison gives both an admin address of its own",
}

// TestHonouredFieldsAreCovered checks that every honoured row of docs/fields.md is set in some scenario.
// It looks for the last name of the path as a YAML key; what an absent field means is the default that
// all the other scenarios run with.
func TestHonouredFieldsAreCovered(t *testing.T) {
	data, err := os.ReadFile(fieldsFile)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	key := regexp.MustCompile(`(?:^|[\s{,\[-])"?([a-z0-9_]+)"?:`)
	for _, s := range loadCorpus(t) {
		for _, f := range s.archive.Files {
			if f.Name == requestsPart || recorded(f.Name) {
				continue
			}
			for _, m := range key.FindAllStringSubmatch(string(f.Data), -1) {
				keys[m[1]] = true
			}
		}
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| honoured ")
	rows := row.FindAllStringSubmatch(string(data), -1)
	if len(rows) < 100 {
		t.Fatalf("%s: only %d honoured rows were found", fieldsFile, len(rows))
	}
	used := []string{}
	for _, m := range rows {
		if notHere[m[1]] != "" {
			used = append(used, m[1])
			continue
		}
		path := strings.TrimSuffix(m[1], "{}")
		if last := path[strings.LastIndex(path, ".")+1:]; !keys[last] {
			t.Errorf("%s says that %s is honoured: no scenario sets it", fieldsFile, m[1])
		}
	}
	for f := range notHere {
		if !slices.Contains(used, f) {
			t.Errorf("%s is listed here and is not honoured any more", f)
		}
	}
}
