// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"cmp"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	limitcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// rateLimits reads the rules by which requests get descriptors.
func rateLimits(list []*routev3.RateLimit, path string, f *findings) []mesh.RateLimitRule {
	var out []mesh.RateLimitRule
	for i, p := range list {
		if p.GetDisableKey() != "" {
			continue // as in Envoy's local rate limit
		}
		r := mesh.RateLimitRule{Stage: p.GetStage().GetValue()}
		for j, a := range p.GetActions() {
			r.Actions = append(r.Actions, rateLimitAction(a, at(join(at(path, i), "actions"), j), f))
		}
		out = append(out, r)
	}
	return out
}

func rateLimitAction(p *routev3.RateLimit_Action, path string, f *findings) mesh.RateLimitAction {
	switch a := p.GetActionSpecifier().(type) {
	case *routev3.RateLimit_Action_SourceCluster_:
		return mesh.RateLimitAction{Source: mesh.OwnCluster, Key: "source_cluster"}
	case *routev3.RateLimit_Action_DestinationCluster_:
		return mesh.RateLimitAction{Source: mesh.DestinationCluster, Key: "destination_cluster"}
	case *routev3.RateLimit_Action_RemoteAddress_:
		return mesh.RateLimitAction{Source: mesh.RemoteAddress, Key: "remote_address"}
	case *routev3.RateLimit_Action_RequestHeaders_:
		h := a.RequestHeaders
		return mesh.RateLimitAction{Source: mesh.RequestHeader, Key: h.GetDescriptorKey(), Header: strings.ToLower(h.GetHeaderName()),
			SkipIfAbsent: h.GetSkipIfAbsent()}
	case *routev3.RateLimit_Action_GenericKey_:
		return mesh.RateLimitAction{Key: cmp.Or(a.GenericKey.GetDescriptorKey(), "generic_key"), Value: a.GenericKey.GetDescriptorValue()}
	case *routev3.RateLimit_Action_HeaderValueMatch_:
		m := a.HeaderValueMatch
		out := mesh.RateLimitAction{Source: mesh.ValueIfHeadersMatch, Key: cmp.Or(m.GetDescriptorKey(), "header_match"), Value: m.GetDescriptorValue()}
		if !boolOr(m.GetExpectMatch(), true) {
			out.Source = mesh.ValueUnlessHeadersMatch
		}
		for i, h := range m.GetHeaders() {
			if hm, ok := headerMatch(h, at(join(path, "header_value_match.headers"), i), f); ok {
				out.Headers = append(out.Headers, hm)
			}
		}
		return out
	}
	return mesh.RateLimitAction{}
}

// descriptorBuckets reads the buckets of descriptors.
func descriptorBuckets(list []*limitcommonv3.LocalRateLimitDescriptor, path string, f *findings) []mesh.DescriptorBucket {
	var out []mesh.DescriptorBucket
	for i, p := range list {
		sub := at(path, i)
		var d mesh.Descriptor
		for j, e := range p.GetEntries() {
			if e.GetValue() == "" {
				f.refused(join(at(join(sub, "entries"), j), "value"), "is empty, which stands for any value: leno accepts fixed ones")
			}
			d = append(d, mesh.DescriptorEntry{Key: e.GetKey(), Value: e.GetValue()})
		}
		if slices.ContainsFunc(out, func(o mesh.DescriptorBucket) bool { return slices.Equal(o.Descriptor, d) }) {
			f.invalid(sub, "is given twice")
		}
		if b := tokenBucket(p.GetTokenBucket(), join(sub, "token_bucket"), f); b != nil {
			out = append(out, mesh.DescriptorBucket{Descriptor: d, Bucket: *b})
		}
	}
	return out
}

// tokenBucket reads a bucket; nil: there is none, or it is wrong.
func tokenBucket(p *typev3.TokenBucket, path string, f *findings) *mesh.TokenBucket {
	if p == nil {
		return nil
	}
	interval := duration(p.GetFillInterval(), 0, join(path, "fill_interval"), f)
	if interval < 50*time.Millisecond {
		f.invalid(join(path, "fill_interval"), "must be at least 50ms")
		return nil
	}
	return &mesh.TokenBucket{Max: p.GetMaxTokens(), PerFill: uint32Or(p.GetTokensPerFill(), 1), Interval: interval}
}
