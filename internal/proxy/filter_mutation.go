// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// mutation is envoy.filters.http.header_mutation (Envoy: extensions/filters/http/header_mutation/header_mutation.cc).
type mutation struct{ config *mesh.HeaderMutation }

func (f *mutation) begin(x *exchange, all overrides) step {
	s := &mutationStep{levels: []*mesh.HeaderMutation{f.config}}
	for _, c := range all {
		if m, ok := c.(*mesh.HeaderMutation); ok {
			s.levels = append(s.levels, m)
		}
	}
	if f.config.MostSpecificWins {
		slices.Reverse(s.levels[1:])
	}
	return s
}

type mutationStep struct {
	passive
	levels []*mesh.HeaderMutation // in the order they act
}

func (s *mutationStep) request(x *exchange) bool {
	for _, l := range s.levels {
		mutate(l.Request, &x.c.req.Header)
	}
	return true
}

func (s *mutationStep) response(_ *exchange, _ int, h *http1.Header) {
	for _, l := range s.levels {
		mutate(l.Response, h)
	}
}

// mutate does the changes one by one.
func mutate(all []mesh.Mutation, h *http1.Header) {
	for i := range all {
		switch m := &all[i]; {
		case m.Add != nil:
			addField(m.Add, h)
		case m.RemoveMatching != nil:
			h.Fields = slices.DeleteFunc(h.Fields, func(f http1.Field) bool {
				return f.Name != "host" && m.RemoveMatching.Matches(f.Name) // host is :authority to Envoy
			})
		default:
			h.Del(m.Remove)
		}
	}
}

func addField(a *mesh.HeaderAdd, h *http1.Header) {
	if a.Value == "" && !a.KeepEmptyValue {
		return
	}
	switch there := h.Has(a.Name); {
	case a.Action == mesh.AppendIfExistsOrAdd, a.Action == mesh.AddIfAbsent && !there:
		h.Add(a.Name, a.Value)
	case a.Action == mesh.OverwriteIfExistsOrAdd, a.Action == mesh.OverwriteIfExists && there:
		h.Set(a.Name, a.Value)
	}
}
