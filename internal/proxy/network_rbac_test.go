// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// A connection that may not pass is closed after its delay and not before, whatever stands behind the filter.
func TestNetworkRBACKeepsWhomItDenies(t *testing.T) {
	const delay = 300 * time.Millisecond
	s := newServer(t, say("hello"))
	web := &mesh.HTTPConnectionManager{StatPrefix: "web", RouteConfig: &mesh.RouteConfig{}, MaxRequestHeadersKiB: 60, MaxHeadersCount: 100}
	for name, chain := range map[string]*mesh.FilterChain{
		"tcp":  {TCP: &mesh.TCPProxy{StatPrefix: "tcp", Clusters: []mesh.WeightedCluster{{Name: "blue", Weight: 1}}, MaxConnectAttempts: 1}},
		"http": {HTTP: web},
	} {
		t.Run(name, func(t *testing.T) {
			at := freeAddress(t)
			r := newRig(t, time.Second)
			chain.RBAC = []*mesh.NetworkRBAC{{StatPrefix: "r", Rules: &mesh.RBACRules{}, Delay: delay}}
			r.update(&mesh.Scope{Listeners: []*mesh.Listener{listenerOf(at, chain)}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
			c := dial(t, at)
			begun := time.Now()
			c.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
			c.ends()
			if took := time.Since(begun); took < delay {
				t.Errorf("ended after %v, want %v at least", took, delay)
			}
			if n := r.stat("r.rbac.denied"); n != 1 {
				t.Errorf("denied %d", n)
			}
		})
	}
}
