// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func servePrometheus(w http.ResponseWriter, all []Sample) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=UTF-8")
	WritePrometheus(w, all)
}

// WritePrometheus writes the text format (prometheus.io/docs/instrumenting/exposition_formats), one family after the
// other, with Envoy's names: "envoy_" and the tag-extracted name. What begins with "leno." stays without the prefix.
func WritePrometheus(w io.Writer, all []Sample) {
	families := map[string][]Sample{}
	var order []string
	for _, s := range all {
		n := promName(s.Base)
		if families[n] == nil {
			order = append(order, n)
		}
		families[n] = append(families[n], s)
	}
	slices.Sort(order)
	kinds := [...]string{Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
	for _, n := range order {
		fmt.Fprintf(w, "# TYPE %s %s\n", n, kinds[families[n][0].Kind])
		for _, s := range families[n] {
			if s.Kind == Histogram {
				writeHistogram(w, n, s)
			} else {
				fmt.Fprintf(w, "%s{%s} %d\n", n, labels(s.Labels), s.Value)
			}
		}
		fmt.Fprintln(w)
	}
}

func writeHistogram(w io.Writer, name string, s Sample) {
	if s.Hist == nil {
		return
	}
	l := labels(s.Labels)
	if l != "" {
		l += ","
	}
	var sum uint64
	for i, n := range s.Hist.Counts {
		sum += n
		le := "+Inf"
		if i < len(s.Hist.Bounds) {
			le = strconv.FormatFloat(s.Hist.Bounds[i], 'g', -1, 64)
		}
		fmt.Fprintf(w, "%s_bucket{%sle=\"%s\"} %d\n", name, l, le, sum)
	}
	fmt.Fprintf(w, "%s_sum{%s} %g\n", name, labels(s.Labels), s.Hist.Sum)
	fmt.Fprintf(w, "%s_count{%s} %d\n", name, labels(s.Labels), sum)
}

// promName turns a statistic's name into a metric's.
func promName(base string) string {
	if !strings.HasPrefix(base, "leno.") {
		base = "envoy." + base
	}
	return clean(base)
}

// clean replaces what a metric or label name may not contain.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func labels(ls []Label) string {
	var parts []string
	for _, l := range ls {
		parts = append(parts, clean(l.Key)+`="`+escape.Replace(l.Value)+`"`)
	}
	return strings.Join(parts, ",")
}
