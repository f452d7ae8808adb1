// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
)

// FuzzProxyProtocol: whatever comes, no more is taken than has come, and what is decided early is not taken back.
func FuzzProxyProtocol(f *testing.F) {
	f.Add([]byte("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nmore"), 8, false)
	f.Add([]byte(proxyV2Signature+"\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a"), 20, true)
	f.Fuzz(func(t *testing.T, data []byte, n int, optional bool) {
		if n < 1 || n > len(data) {
			return
		}
		look := func(data []byte) (judgement, int, arrival) {
			var a arrival
			then, drop := (&proxyProtocol{&mesh.ProxyProtocol{Optional: optional}, &proxyProtocolStats{}}).look(data, &a)
			if drop < 0 || drop > len(data) || then != goAhead && drop != 0 {
				t.Fatalf("%q: %d, drop %d", data, then, drop)
			}
			return then, drop, a
		}
		early, dropEarly, a := look(data[:n])
		if early == wait {
			return
		}
		if then, drop, b := look(data); then != early || drop != dropEarly || a.remote != b.remote {
			t.Fatalf("%q: %d, %d; %q: %d, %d", data[:n], early, dropEarly, data, then, drop)
		}
	})
}
