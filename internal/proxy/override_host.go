// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// namedHosts are the addresses that a request names itself, for one attempt each
// (Envoy: load_balancing_policies/override_host). The zero value has not looked yet.
type namedHosts struct {
	read bool
	left []string
}

// next is the next host that the request names; nil: it names none, or no more. As in Envoy, its health is not asked.
func (o *namedHosts) next(request *http1.Header, headers []string, set *mesh.HostSet) *mesh.Host {
	if !o.read {
		o.read = true
		o.left = o.left[:0]
		for _, name := range headers {
			for word := range strings.SplitSeq(request.Value(name), ",") {
				if word = trimSpace(word); word != "" {
					o.left = append(o.left, word)
				}
			}
		}
	}
	for len(o.left) > 0 {
		text := o.left[0]
		o.left = o.left[1:]
		a, err := netip.ParseAddrPort(text)
		if err != nil || a.String() != text { // Envoy compares texts
			continue
		}
		for _, h := range set.All {
			if h.Address == a {
				return h
			}
		}
	}
	return nil
}
