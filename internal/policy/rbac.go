// SPDX-License-Identifier: Apache-2.0

// Package policy judges connections and requests by the policies of package mesh. It does not know where a connection or
// a request comes from, does not answer and does not count.
package policy

import (
	"net/netip"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Subject is who wants to pass.
type Subject struct {
	// Direct is the other end of the connection, Source the one that listener filters have put into its place (as the
	// PROXY protocol does), Remote the client as far as it is known. Invalid: unknown.
	Direct, Source, Remote netip.Addr
	// Destination is what the client has connected to; an invalid or unspecified address is unknown.
	Destination netip.AddrPort
	// ServerName is what TLS asked for; empty: nothing.
	ServerName string
	HTTP       HTTP // nil: it is a connection, and conditions about requests see one without fields
}

// HTTP is the request of a subject.
type HTTP interface {
	HeaderMatches(*mesh.HeaderMatch) bool
	// TargetPath is the path without query and fragment; false: there is none.
	TargetPath() (string, bool)
	// Metadata is what filters have left, or what stands at the route; false: there is no route.
	Metadata(route bool) (mesh.Metadata, bool)
}

// Decide says whether s may pass, and the name of the policy that it met; empty: none. What would have to know an address
// that is unknown lets nobody pass. (Envoy: extensions/filters/common/rbac/engine_impl.cc)
func Decide(r *mesh.RBACRules, s *Subject) (allowed bool, met string) {
	j := judge{s: s}
	matched := false
	for i := range r.Policies {
		p := &r.Policies[i]
		if j.some(p.Permissions) && j.some(p.Principals) {
			matched, met = true, p.Name
			break
		}
	}
	switch {
	case j.blind:
		return false, met
	case r.Action == mesh.RBACLog:
		return true, met
	}
	return matched == (r.Action == mesh.RBACAllow), met
}

// judge is one decision.
type judge struct {
	s     *Subject
	blind bool // an address was asked for that is unknown
}

func (j *judge) some(all []mesh.RBACCondition) bool {
	for i := range all {
		if j.meets(&all[i]) {
			return true
		}
	}
	return false
}

func (j *judge) meets(c *mesh.RBACCondition) bool {
	switch c.Kind {
	case mesh.RBACAny:
		return true
	case mesh.RBACAnd:
		for i := range c.Of {
			if !j.meets(&c.Of[i]) {
				return false
			}
		}
		return true
	case mesh.RBACOr:
		return j.some(c.Of)
	case mesh.RBACNot:
		return !j.meets(&c.Of[0])
	case mesh.RBACHeader:
		return j.header(c.Header)
	case mesh.RBACPath:
		if j.s.HTTP == nil {
			return false
		}
		path, ok := j.s.HTTP.TargetPath()
		return ok && c.Text.Matches(path)
	case mesh.RBACServerName:
		return c.Text.Matches(j.s.ServerName)
	case mesh.RBACSourceIP:
		return j.within(c.Range, j.s.Source)
	case mesh.RBACDirectRemoteIP:
		return j.within(c.Range, j.s.Direct)
	case mesh.RBACRemoteIP:
		return j.within(c.Range, j.s.Remote)
	case mesh.RBACDestinationIP:
		return j.within(c.Range, j.s.Destination.Addr())
	case mesh.RBACDestinationPort:
		p := int32(j.s.Destination.Port())
		return c.FirstPort <= p && p < c.EndPort
	case mesh.RBACMetadata:
		return j.metadata(c.Metadata)
	}
	return false // RBACNever
}

func (j *judge) metadata(m *mesh.MetadataMatch) bool {
	if j.s.HTTP == nil { // nobody has left anything
		return !m.Route && m.Matches(nil)
	}
	md, ok := j.s.HTTP.Metadata(m.Route)
	return ok && m.Matches(md)
}

func (j *judge) within(r netip.Prefix, a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() {
		j.blind = true
		return false
	}
	return r.Contains(a.WithZone("")) // a link-local peer has one
}

// header compares a field of the request, or of one that has none.
func (j *judge) header(m *mesh.HeaderMatch) bool {
	switch {
	case j.s.HTTP != nil:
		return j.s.HTTP.HeaderMatches(m)
	case m.Match.Kind == mesh.StringPresent && m.Range == nil:
		return (m.TreatMissingAsEmpty == m.Present) != m.Invert
	case !m.TreatMissingAsEmpty:
		return false
	case m.Range != nil:
		return m.Invert
	}
	return m.Match.Matches("") != m.Invert
}
