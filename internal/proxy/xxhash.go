// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/binary"
	"math/bits"
)

const (
	xxPrime1 uint64 = 11400714785074694791
	xxPrime2 uint64 = 14029467366897019727
	xxPrime3 uint64 = 1609587929392839161
	xxPrime4 uint64 = 9650029242287828579
	xxPrime5 uint64 = 2870177450012600261
)

// xxHash64 is the hash of that name (xxhash specification, XXH64), which Envoy's hash policies and rings are made of.
func xxHash64(s string, seed uint64) uint64 {
	n := uint64(len(s))
	h := seed + xxPrime5
	if n >= 32 {
		lanes := [4]uint64{seed + xxPrime1 + xxPrime2, seed + xxPrime2, seed, seed - xxPrime1}
		for ; len(s) >= 32; s = s[32:] {
			for i := range lanes {
				lanes[i] = xxRound(lanes[i], xxWord(s[8*i:]))
			}
		}
		h = bits.RotateLeft64(lanes[0], 1) + bits.RotateLeft64(lanes[1], 7) + bits.RotateLeft64(lanes[2], 12) + bits.RotateLeft64(lanes[3], 18)
		for _, l := range lanes {
			h = (h^xxRound(0, l))*xxPrime1 + xxPrime4
		}
	}
	h += n
	for ; len(s) >= 8; s = s[8:] {
		h = bits.RotateLeft64(h^xxRound(0, xxWord(s)), 27)*xxPrime1 + xxPrime4
	}
	if len(s) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32([]byte(s[:4])))*xxPrime1, 23)*xxPrime2 + xxPrime3
		s = s[4:]
	}
	for i := range len(s) {
		h = bits.RotateLeft64(h^uint64(s[i])*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>33) * xxPrime2
	h = (h ^ h>>29) * xxPrime3
	return h ^ h>>32
}

func xxRound(lane, word uint64) uint64 {
	return bits.RotateLeft64(lane+word*xxPrime2, 31) * xxPrime1
}

// xxWord reads eight bytes; the conversion does not escape, so nothing is copied to the heap.
func xxWord(s string) uint64 { return binary.LittleEndian.Uint64([]byte(s[:8])) }
