// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math"
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// bucket holds tokens, parts of them included (Envoy: common/token_bucket_impl.cc, AtomicTokenBucketImpl).
type bucket struct {
	max, rate float64 // rate: tokens per second

	mu    sync.Mutex
	empty time.Time // when it was empty, going by the rate
}

func newBucket(b *mesh.TokenBucket) *bucket {
	k := &bucket{max: float64(b.Max), rate: max(float64(b.PerFill)/b.Interval.Seconds(), 1/(365*24*time.Hour).Seconds())}
	k.empty = time.Now().Add(-seconds(k.max / k.rate))
	return k
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s*float64(time.Second), math.MaxInt64/2))
}

// take takes a token, if there is one.
func (b *bucket) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	total := b.total(now)
	if total < 1 {
		return false
	}
	b.empty = now.Add(-seconds((total - 1) / b.rate))
	return true
}

func (b *bucket) total(now time.Time) float64 { return min(b.max, now.Sub(b.empty).Seconds()*b.rate) }

// left is how many tokens there are, and in how many whole seconds there is one.
func (b *bucket) left() (tokens, wait uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	total := b.total(time.Now())
	if total >= 1 {
		return uint64(total), 0
	}
	return 0, uint64(math.Ceil((1 - total) / b.rate))
}
