// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// buckets are those of one rate limit (Envoy: extensions/filters/common/local_ratelimit/local_ratelimit_impl.cc).
type buckets struct {
	own       *bucket // nil: there is none
	described []describedBucket
	alwaysOwn bool // also where a descriptor has a bucket
}

type describedBucket struct {
	descriptor mesh.Descriptor
	*bucket
}

func newBuckets(c *mesh.LocalRateLimit) *buckets {
	b := &buckets{alwaysOwn: c.AlwaysOwn}
	if c.Bucket != nil {
		b.own = newBucket(c.Bucket)
	}
	for i := range c.Descriptors {
		d := &c.Descriptors[i]
		b.described = append(b.described, describedBucket{d.Descriptor, newBucket(&d.Bucket)})
	}
	return b
}

// take takes a token from every bucket that the descriptors lead to, the slowest first, and returns the one that decided;
// nil: none was asked.
func (b *buckets) take(all []mesh.Descriptor) (*bucket, bool) {
	var hit []*bucket
	for _, want := range all {
		for _, d := range b.described {
			if slices.Equal(d.descriptor, want) {
				hit = append(hit, d.bucket)
				break
			}
		}
	}
	slices.SortStableFunc(hit, func(x, y *bucket) int { return cmp.Compare(x.rate, y.rate) })
	for _, k := range hit {
		if !k.take() {
			return k, false
		}
	}
	if b.own != nil && (len(hit) == 0 || b.alwaysOwn) && !b.own.take() {
		return b.own, false
	}
	if len(hit) > 0 {
		return hit[0], true
	}
	return b.own, true
}

// descriptors are what the route's rules make of the request.
func (x *exchange) descriptors(c *mesh.LocalRateLimit) []mesh.Descriptor {
	if x.match.route == nil || x.match.route.Forward == nil {
		return nil
	}
	a := x.match.route.Forward
	all := x.describe(nil, a.RateLimits, c.Stage)
	vh := c.VHRateLimits
	if a.IncludeVHRateLimits {
		vh = mesh.IncludeVHRateLimits
	}
	if vh == mesh.IncludeVHRateLimits || vh == mesh.OverrideVHRateLimits && len(a.RateLimits) == 0 {
		all = x.describe(all, x.match.host.RateLimits, c.Stage)
	}
	return all
}

func (x *exchange) describe(all []mesh.Descriptor, rules []mesh.RateLimitRule, stage uint32) []mesh.Descriptor {
	for i := range rules {
		if rules[i].Stage != stage {
			continue
		}
		if d, ok := x.descriptor(rules[i].Actions); ok {
			all = append(all, d)
		}
	}
	return all
}

func (x *exchange) descriptor(actions []mesh.RateLimitAction) (mesh.Descriptor, bool) {
	var d mesh.Descriptor
	for i := range actions {
		a := &actions[i]
		v := a.Value
		switch a.Source {
		case mesh.OwnCluster:
			v = x.c.p.state.Load().scopes[x.c.v.scope].Node.Cluster
		case mesh.DestinationCluster:
			v = x.named
		case mesh.RemoteAddress:
			v = x.remote.String()
		case mesh.RequestHeader:
			var ok bool
			if v, ok = field(&x.c.req, a.Header); !ok {
				if !a.SkipIfAbsent {
					return nil, false
				}
				continue
			}
		case mesh.ValueIfHeadersMatch, mesh.ValueUnlessHeadersMatch:
			if headersMatch(a.Headers, &x.c.req) != (a.Source == mesh.ValueIfHeadersMatch) {
				return nil, false
			}
		}
		d = append(d, mesh.DescriptorEntry{Key: a.Key, Value: v})
	}
	return d, true
}
