// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
)

// Estimate is a median with an interval that holds the true median with the probability Coverage, whatever the
// distribution: its ends are members of the sample.
type Estimate struct {
	Median   float64 `json:"median"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Coverage float64 `json:"coverage"`
	N        int     `json:"n"`
}

// wishedCoverage is what an interval must hold; with few rounds the whole range holds less.
const wishedCoverage = 0.9

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	if m := len(s) / 2; len(s)%2 == 1 {
		return s[m]
	} else {
		return (s[m-1] + s[m]) / 2
	}
}

// estimate is the median of x and the narrowest symmetric pair of order statistics with the wished coverage.
// It is the zero Estimate for an empty x.
func estimate(x []float64) Estimate {
	n := len(x)
	if n == 0 {
		return Estimate{}
	}
	s := slices.Sorted(slices.Values(x))
	k := 0 // the interval is s[k] to s[n-1-k]
	for 2*(k+1) < n-1 && coverage(n, k+1) >= wishedCoverage {
		k++
	}
	return Estimate{Median: median(s), Low: s[k], High: s[n-1-k], Coverage: coverage(n, k), N: n}
}

// coverage is the probability that the median lies between the k-th smallest and the k-th largest of n, counted from 0.
func coverage(n, k int) float64 {
	outside := 0.0
	for i := 0; i <= k; i++ {
		outside += math.Exp(logChoose(n, i) - float64(n)*math.Ln2)
	}
	return math.Max(0, 1-2*outside)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// ratios divides what was measured in the same round. Rounds in which either is missing (NaN or not above 0) are
// left out.
func ratios(of, base []float64) []float64 {
	var r []float64
	for i := range min(len(of), len(base)) {
		if of[i] > 0 && base[i] > 0 {
			r = append(r, of[i]/base[i])
		}
	}
	return r
}

// quantile of sorted values; q is 0 to 1.
func quantile(sorted []int64, q float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
