// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"
	"testing"
)

// The first values are those of the reference implementation's documentation and tests; the oracle's scenarios with
// hash_policy cover every length class against Envoy.
func TestXXHash64(t *testing.T) {
	for _, c := range []struct {
		text string
		seed uint64
		want uint64
	}{
		{"", 0, 0xef46db3751d8e999},
		{"", 1, 0xd5afba1336a3be4b},
		{"a", 0, 0xd24ec4f1a98c6e5b},
		{"abc", 0, 0x44bc2cf5ad770999},
		{"xxhash", 0, 0x32dd38952c4bc720},
		{"xxhash", 20141025, 0xb559b98d844e0635},
		{"Call me Ishmael. Some years ago--never mind how long precisely-", 0, 0x02a2e85470d6fd96},
	} {
		if got := xxHash64(c.text, c.seed); got != c.want {
			t.Errorf("xxHash64(%q, %d) = %#x, want %#x", c.text, c.seed, got, c.want)
		}
	}
}

func TestXXHash64DoesNotAllocate(t *testing.T) {
	s := strings.Repeat("x", 77)
	if n := testing.AllocsPerRun(100, func() { xxHash64(s, 0) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
