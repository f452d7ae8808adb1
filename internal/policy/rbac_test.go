// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
)

// What requests show is in test/oracle (rbac.txtar); these are subjects that no request through Envoy can be.
func TestDecideWithoutKnowing(t *testing.T) {
	always := []mesh.RBACCondition{{Kind: mesh.RBACAny}}
	private := mesh.RBACCondition{Kind: mesh.RBACDirectRemoteIP, Range: netip.MustParsePrefix("10.0.0.0/8")}
	not := mesh.RBACCondition{Kind: mesh.RBACNot, Of: []mesh.RBACCondition{private}}
	header := func(m mesh.HeaderMatch) mesh.RBACCondition {
		return mesh.RBACCondition{Kind: mesh.RBACHeader, Header: &m}
	}
	absent := mesh.StringMatch{Kind: mesh.StringPresent}
	known, unknown := Subject{Direct: netip.MustParseAddr("10.1.1.1")}, Subject{}
	for _, c := range []struct {
		name      string
		action    mesh.RBACAction
		principal mesh.RBACCondition
		subject   Subject
		allowed   bool
	}{
		{"known, allow", mesh.RBACAllow, private, known, true},
		{"known, deny", mesh.RBACDeny, private, known, false},
		{"unknown, allow", mesh.RBACAllow, private, unknown, false},
		{"unknown, deny", mesh.RBACDeny, private, unknown, false},
		{"unknown, log", mesh.RBACLog, private, unknown, false},
		{"unknown, allow others", mesh.RBACAllow, not, unknown, false},
		{"unknown, not asked for", mesh.RBACAllow, always[0], unknown, true},
		{"no request, header", mesh.RBACAllow, header(mesh.HeaderMatch{Match: absent, Present: true}), known, false},
		{"no request, absent header", mesh.RBACAllow, header(mesh.HeaderMatch{Match: absent}), known, true},
		{"no request, inverted value", mesh.RBACAllow, header(mesh.HeaderMatch{Match: mesh.StringMatch{Value: "a"}, Invert: true}), known, false},
		{"no request, as empty", mesh.RBACAllow,
			header(mesh.HeaderMatch{Match: mesh.StringMatch{Value: "a"}, Invert: true, TreatMissingAsEmpty: true}), known, true},
		{"no request, path", mesh.RBACAllow, mesh.RBACCondition{Kind: mesh.RBACPath, Text: &absent}, known, false},
	} {
		rules := &mesh.RBACRules{Action: c.action, Policies: []mesh.RBACPolicy{{Name: "p", Permissions: always,
			Principals: []mesh.RBACCondition{c.principal}}}}
		if allowed, _ := Decide(rules, &c.subject); allowed != c.allowed {
			t.Errorf("%s: allowed %v", c.name, allowed)
		}
	}
}
