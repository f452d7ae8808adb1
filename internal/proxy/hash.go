// SPDX-License-Identifier: Apache-2.0

package proxy

// hash is what the route's hash policies make of the request; false: nothing.
func (x *exchange) hash() (uint64, bool) {
	var hash uint64
	found := false
	for _, name := range x.match.route.Forward.HashHeaders {
		if x.c.req.Header.Has(name) {
			hash, found = xxHash64(x.c.req.Header.Value(name), 0), true
		}
	}
	return hash, found
}

// selection is what the request wants of the balancer.
func (x *exchange) selection(b *balancer) (s selection) {
	if b.hashes {
		s.hash, s.hashed = x.hash()
	}
	return s
}
