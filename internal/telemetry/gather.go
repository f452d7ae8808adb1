// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"slices"
	"strings"
)

// Gather reads all sources and adds up samples of the same name; the result is sorted by name.
func Gather(sources ...Source) []Sample {
	at := map[string]int{}
	var all []Sample
	for _, src := range sources {
		src.Collect(func(s Sample) {
			i, ok := at[s.Name]
			if !ok {
				at[s.Name] = len(all)
				all = append(all, s)
				return
			}
			all[i].add(s)
		})
	}
	slices.SortFunc(all, func(a, b Sample) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// add adds another tier's part. Histograms of other bounds cannot be added bucket by bucket: each count moves to the
// bucket of its own upper bound, so that no value is reported as smaller than it was.
func (s *Sample) add(o Sample) {
	s.Value += o.Value
	if s.Hist == nil || o.Hist == nil {
		if s.Hist == nil {
			s.Hist = o.Hist
		}
		return
	}
	h := &Hist{Bounds: s.Hist.Bounds, Counts: slices.Clone(s.Hist.Counts), Sum: s.Hist.Sum + o.Hist.Sum}
	for i, n := range o.Hist.Counts {
		to := len(h.Bounds)
		if i < len(o.Hist.Bounds) {
			to, _ = slices.BinarySearch(h.Bounds, o.Hist.Bounds[i])
		}
		h.Counts[to] += n
	}
	s.Hist = h
}
