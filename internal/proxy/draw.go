// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"

	"github.com/leno-mesh/leno/internal/mesh"
)

// draw is the one random number of an exchange: all that is decided by chance about a request looks at the same one, as in Envoy,
// so that a fraction of 30 % after one of 20 % takes the next 10 %. It is drawn when it is first asked for.
type draw uint64

func (d *draw) value() uint64 {
	for *d == 0 {
		*d = draw(rand.Uint64())
	}
	return uint64(*d)
}

// hits says whether the request is in a fraction.
func (d *draw) hits(f *mesh.Fraction) bool {
	return d.value()%uint64(f.Denominator) < uint64(f.Numerator)
}
