// SPDX-License-Identifier: Apache-2.0

package proxy

import "encoding/binary"

const (
	murmurMul  uint64 = 0xc6a4a7935bd1e995
	murmurSeed uint64 = 0xc70f6907 // what libstdc++'s std::hash begins with
)

// murmurHash2 is MurmurHash64A (A. Appleby), which std::hash of libstdc++ is.
func murmurHash2(s string, seed uint64) uint64 {
	mix := func(v uint64) uint64 {
		v *= murmurMul
		return (v ^ v>>47) * murmurMul
	}
	b := []byte(s) // does not escape
	h := seed ^ uint64(len(b))*murmurMul
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ mix(binary.LittleEndian.Uint64(b))) * murmurMul
	}
	if len(b) > 0 {
		var rest [8]byte
		copy(rest[:], b)
		h = (h ^ binary.LittleEndian.Uint64(rest[:])) * murmurMul
	}
	h = (h ^ h>>47) * murmurMul
	return h ^ h>>47
}
