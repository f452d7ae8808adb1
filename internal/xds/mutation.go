// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

func headerMutation(p *headerv3.Mutations, path string, f *findings) *mesh.HeaderMutation {
	return &mesh.HeaderMutation{
		Request:  mutations(p.GetRequestMutations(), requestPseudo, join(path, "request_mutations"), f),
		Response: mutations(p.GetResponseMutations(), []string{":status"}, join(path, "response_mutations"), f),
	}
}

// requestPseudo are the fields of a request that Envoy has and HTTP/1.1 has not.
var requestPseudo = []string{":method", ":path", ":scheme", ":authority"}

// framing are the fields that say how a message is sent, which is not the filter's to decide here.
var framing = []string{"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}

// mutations reads changes; pseudo are what Envoy has among the fields and HTTP/1.1 has not.
func mutations(list []*mutationv3.HeaderMutation, pseudo []string, path string, f *findings) []mesh.Mutation {
	var out []mesh.Mutation
	for i, p := range list {
		sub := at(path, i)
		switch a := p.GetAction().(type) {
		case *mutationv3.HeaderMutation_Remove:
			if m := (mesh.Mutation{Remove: strings.ToLower(a.Remove)}); mayMutate(m.Remove, join(sub, "remove"), f) {
				out = append(out, m)
			}
		case *mutationv3.HeaderMutation_Append:
			if name := a.Append.GetHeader().GetKey(); !mayMutate(strings.ToLower(name), join(sub, "append.header.key"), f) {
				continue
			}
			if h, ok := headerAdd(a.Append, join(sub, "append"), f); ok {
				noCommands([]mesh.HeaderAdd{h}, join(sub, "append.header.value"), f)
				out = append(out, mesh.Mutation{Add: &h})
			}
		case *mutationv3.HeaderMutation_RemoveOnMatch_:
			in := join(sub, "remove_on_match.key_matcher")
			m, ok := stringMatch(a.RemoveOnMatch.GetKeyMatcher(), in, f)
			if !ok {
				continue
			}
			for _, name := range slices.Concat(pseudo, framing) {
				if name != "host" && m.Matches(name) {
					f.refused(in, "matches %s, which leno does not remove", name)
					ok = false
					break
				}
			}
			if ok {
				out = append(out, mesh.Mutation{RemoveMatching: &m})
			}
		}
	}
	return out
}

func mayMutate(name, path string, f *findings) bool {
	if strings.HasPrefix(name, ":") || slices.Contains(framing, name) {
		f.refused(path, "%s is not supported: leno does not change what begins with : and what says how a message is sent", name)
		return false
	}
	return true
}
