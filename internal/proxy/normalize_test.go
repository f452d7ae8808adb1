// SPDX-License-Identifier: Apache-2.0

package proxy

import "testing"

// What Envoy 1.40 makes of paths; test/oracle asks it about the same ones.
func TestCanonicalPath(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "//": "//", "/.": "/", "/..": "/", "/a/.": "/a/", "/a/./": "/a/", "/a/..": "/", "/a/b/../c": "/a/c",
		"/a/%2E%2e/b": "/b", "/a/.%2e": "/", "/a/%2e./x": "/x", "/a/...": "/a/...", "/a/..b": "/a/..b", "/a/.b": "/a/.b",
		"/a.": "/a.", "/a/b..": "/a/b..", `/a\..\b`: "/b", "/a/b/..%2fc": "/a/b/..%2fc", "/%": "/%", "/%2": "/%2", "/%zz": "/%zz",
		"/%%41": "/%A", "/a//..": "/a/", "//..//a": "//a", "/a?b/../%41": "/a?b/../%41", "/../..?x": "/?x", "/%25%32%65": "/%252e",
		`/\a`: "//a", "/x%22y": "/x%22y", `/x"y|`: "/x%22y%7C", "/x%7ey": "/x~y", "/a/..;x/b": "/b", "/a/.;x": "/a/",
		"/a/%2e%2e;x/b": "/a/..;x/b", "/a/..;/..;/b": "/b", "/a/b;..": "/a/b;..", `/a/..;\b`: "/",
	} {
		if got, ok := canonicalPath(path); !ok || got != want {
			t.Errorf("%s: got %s %t, want %s", path, got, ok, want)
		}
		if canonical(path) && path != want {
			t.Errorf("%s is taken for canonical", path)
		}
	}
	if _, ok := canonicalPath("/a%00"); ok {
		t.Error("%00 was accepted")
	}
}

func TestMergeSlashes(t *testing.T) {
	for path, want := range map[string]string{"/a//b": "/a/b", "//": "//", "///": "//", "//a//": "/a/", "/a?b//c": "/a?b//c",
		"/a//?b//c": "/a/?b//c", "/": "/"} {
		if got := mergeSlashes(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}
