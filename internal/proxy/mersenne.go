// SPDX-License-Identifier: Apache-2.0

package proxy

// mersenne is the random generator MT19937, which makes the same sequence of a seed everywhere (M. Matsumoto,
// T. Nishimura 1998; in C++ std::mt19937).
type mersenne struct {
	state [624]uint32
	at    int
}

func newMersenne(seed uint32) *mersenne {
	m := &mersenne{at: 624}
	m.state[0] = seed
	for i := 1; i < len(m.state); i++ {
		last := m.state[i-1]
		m.state[i] = 1812433253*(last^last>>30) + uint32(i)
	}
	return m
}

func (m *mersenne) next() uint32 {
	if m.at == len(m.state) {
		m.twist()
	}
	y := m.state[m.at]
	m.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (m *mersenne) twist() {
	n := len(m.state)
	for i := range m.state {
		y := m.state[i]&(1<<31) | m.state[(i+1)%n]&(1<<31-1)
		m.state[i] = m.state[(i+397)%n] ^ y>>1 ^ y&1*0x9908b0df
	}
	m.at = 0
}

// below draws from 0 to k-1, each with the same chance; k > 0.
func (m *mersenne) below(k uint32) uint32 {
	for {
		if x := uint64(m.next()) / (1 << 32 / uint64(k)); x < uint64(k) {
			return uint32(x)
		}
	}
}
