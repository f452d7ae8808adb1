// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// What filters answer is compared with Envoy in test/oracle. Here stands what the corpus cannot do.

// A policy about addresses lets nobody pass where the kernel has hidden the client's.
func TestPolicyThatCannotSeeTheClient(t *testing.T) {
	s := newServer(t, say("hello"))
	r := newRig(t, time.Second)
	l := routeTo(netip.MustParseAddrPort("10.9.8.7:80"), "blue")
	l.BindToPort = false
	all := []mesh.RBACCondition{{Kind: mesh.RBACAny}}
	l.Chains[0].HTTP.Filters = []mesh.HTTPFilter{{Name: "f", Config: &mesh.RBAC{Rules: &mesh.RBACRules{Policies: []mesh.RBACPolicy{{Name: "p", Permissions: all,
		Principals: []mesh.RBACCondition{{Kind: mesh.RBACDirectRemoteIP, Range: netip.MustParsePrefix("127.0.0.0/8")}}}}}}}}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{l}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	parked, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer parked.Close()
	r.p.Serve("/", "web", parked)
	c := dial(t, parked.Addr().(*net.TCPAddr).AddrPort())
	c.send(get)
	c.want(403, "RBAC: access denied")
	if n := r.stat("http.web.rbac.denied"); n != 1 {
		t.Errorf("%d denied", n)
	}
}

// A client that leaves while a fault holds its request ends the fault, and the upstream never sees it.
func TestClientThatLeavesEndsItsDelay(t *testing.T) {
	s := newServer(t, func(_ http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		t.Error("the request came through")
	})
	r, at := newRig(t, time.Second), freeAddress(t)
	l := routeTo(at, "blue")
	l.Chains[0].HTTP.Filters = []mesh.HTTPFilter{{Name: "f", Config: &mesh.Fault{Delay: &mesh.FaultDelay{Fixed: time.Hour,
		Percentage: mesh.Fraction{Numerator: 100, Denominator: 100}}}}}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{l}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	c := dial(t, at)
	c.send(get)
	eventually(t, "a delay", func() bool { return r.stat("http.web.fault.active_faults") == 1 })
	c.Close()
	eventually(t, "no delay", func() bool {
		return r.stat("http.web.fault.active_faults") == 0 && r.stat("http.web.downstream_rq_rx_reset") == 1
	})
}
