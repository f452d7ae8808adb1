// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
)

// ServeStats answers Envoy's /stats: text, or ?format=json|prometheus; ?filter=REGEX and ?usedonly choose.
func ServeStats(w http.ResponseWriter, r *http.Request, all []Sample) {
	q := r.URL.Query()
	all, err := choose(all, q.Get("filter"), q.Has("usedonly"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch format := q.Get("format"); format {
	case "", "text":
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		WriteText(w, all)
	case "json":
		w.Header().Set("Content-Type", "application/json")
		writeJSON(w, all)
	case "prometheus":
		servePrometheus(w, all)
	default:
		http.Error(w, "usage: /stats?format=text|json|prometheus", http.StatusBadRequest)
	}
}

// ServePrometheus answers Envoy's /stats/prometheus.
func ServePrometheus(w http.ResponseWriter, r *http.Request, all []Sample) {
	q := r.URL.Query()
	all, err := choose(all, q.Get("filter"), q.Has("usedonly"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	servePrometheus(w, all)
}

func choose(all []Sample, filter string, usedOnly bool) ([]Sample, error) {
	if filter == "" && !usedOnly {
		return all, nil
	}
	re, err := regexp.Compile(filter)
	if err != nil {
		return nil, fmt.Errorf("invalid re2 regex: %w", err)
	}
	var some []Sample
	for _, s := range all {
		if re.MatchString(s.Name) && (!usedOnly || used(s)) {
			some = append(some, s)
		}
	}
	return some, nil
}

func used(s Sample) bool {
	if s.Kind != Histogram {
		return s.Value != 0
	}
	return s.Hist != nil && s.Hist.count() != 0
}

func (h *Hist) count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// WriteText writes "name: value" lines, counters and gauges before histograms, as Envoy does.
func WriteText(w io.Writer, all []Sample) {
	for _, s := range all {
		if s.Kind != Histogram {
			fmt.Fprintf(w, "%s: %d\n", s.Name, s.Value)
		}
	}
	for _, s := range all {
		if s.Kind == Histogram {
			fmt.Fprintf(w, "%s: %s\n", s.Name, quantileText(s.Hist))
		}
	}
}

// quantiles are those that Envoy computes.
var quantiles = []float64{0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1}

// quantileText is Envoy's form P99(interval,cumulative); there is no interval here, so it stands as nan.
func quantileText(h *Hist) string {
	if h == nil || h.count() == 0 {
		return "No recorded values"
	}
	var b strings.Builder
	for i, q := range quantiles {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "P%g(nan,%.5g)", q*100, h.quantile(q))
	}
	return b.String()
}

// quantile is interpolated within its bucket.
func (h *Hist) quantile(q float64) float64 {
	rank := q * float64(h.count())
	var below float64
	for i, n := range h.Counts {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		lo, hi := 0.0, math.Inf(1)
		if i > 0 {
			lo = h.Bounds[i-1]
		}
		if i < len(h.Bounds) {
			hi = h.Bounds[i]
		}
		if math.IsInf(hi, 1) {
			return lo
		}
		return lo + (hi-lo)*(rank-below)/float64(n)
	}
	return 0
}

// writeJSON is Envoy's shape: {"stats":[{"name":...,"value":...}, ..., {"histograms":{...}}]}.
func writeJSON(w io.Writer, all []Sample) {
	type quantile struct {
		Interval   *float64 `json:"interval"`
		Cumulative float64  `json:"cumulative"`
	}
	stats := []any{}
	computed := []any{}
	for _, s := range all {
		if s.Kind != Histogram {
			stats = append(stats, map[string]any{"name": s.Name, "value": s.Value})
			continue
		}
		if s.Hist == nil || s.Hist.count() == 0 {
			continue
		}
		var values []quantile
		for _, q := range quantiles {
			values = append(values, quantile{nil, s.Hist.quantile(q)})
		}
		computed = append(computed, map[string]any{"name": s.Name, "values": values})
	}
	if len(computed) > 0 {
		percent := make([]float64, len(quantiles))
		for i, q := range quantiles {
			percent[i] = q * 100
		}
		stats = append(stats, map[string]any{"histograms": map[string]any{
			"supported_quantiles": percent, "computed_quantiles": computed}})
	}
	// The only error is a client that left.
	_ = json.NewEncoder(w).Encode(map[string]any{"stats": stats})
}
