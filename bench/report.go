// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// Report is everything that was measured; -json writes it.
type Report struct {
	Time    time.Time `json:"time"`
	Kernel  string    `json:"kernel"`
	Machine string    `json:"machine"`
	CPUs    string    `json:"cpus"` // the processors that were used
	NumCPU  int       `json:"num_cpu"`
	Go      string    `json:"go"`
	Commit  string    `json:"commit"`
	Command string    `json:"command"`
	Rounds  int       `json:"rounds"`
	Seconds float64   `json:"slice_seconds"`

	Missing []missing         `json:"missing"`
	Errors  []string          `json:"errors"`
	Results []Result          `json:"results"`
	Memory  []ContenderMemory `json:"memory"`
	Scale   []Figure          `json:"scale"`
}

// Result is one contender under one load. Ratios are to bare in the same round.
type Result struct {
	Place     string  `json:"place"`
	Load      string  `json:"load"`
	OpenRate  float64 `json:"open_rate,omitempty"` // share of bare's throughput; 0: closed loop
	Contender string  `json:"contender"`
	Slices    []Slice `json:"slices"`

	PerSecond  float64  `json:"median_per_second"`
	Throughput Estimate `json:"throughput_ratio"`
	CPU        Estimate `json:"cpu_ratio"`
	P50        Estimate `json:"p50_ratio"`
	P99        Estimate `json:"p99_ratio"`
}

// ContenderMemory is taken after all loads.
type ContenderMemory struct {
	Contender string `json:"contender"`
	Memory
}

// Figure is one number of the scale part.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Detail string  `json:"detail,omitempty"`
}

func newReport(o options, cpus string, n int) *Report {
	r := &Report{Time: time.Now().UTC(), CPUs: cpus, NumCPU: n, Go: runtime.Version(), Rounds: o.rounds,
		Seconds: o.slice.Seconds(), Command: "bench " + strings.Join(os.Args[1:], " "), Machine: processor(),
		Missing: []missing{}, Errors: []string{}, Results: []Result{}, Memory: []ContenderMemory{}, Scale: []Figure{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		r.Commit = strings.TrimSpace(string(out))
	}
	return r
}

// processor is the model's name; empty where the kernel does not tell.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(text), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// add takes the slices of all contenders under one load.
func (r *Report) add(place, load string, rate float64, all map[string][]Slice) {
	pick := func(name string, of func(Slice) float64) []float64 {
		var x []float64
		for _, s := range all[name] {
			x = append(x, of(s))
		}
		return x
	}
	compare := func(name string, of func(Slice) float64) Estimate {
		return estimate(ratios(pick(name, of), pick("bare", of)))
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return order(a) - order(b) })
	for _, name := range names {
		r.Results = append(r.Results, Result{Place: place, Load: load, OpenRate: rate, Contender: name, Slices: all[name],
			PerSecond:  zeroIfNaN(medianRate(all[name])),
			Throughput: compare(name, func(s Slice) float64 { return s.PerSecond }),
			CPU:        compare(name, func(s Slice) float64 { return s.CPU }),
			P50:        compare(name, func(s Slice) float64 { return s.P50 }),
			P99:        compare(name, func(s Slice) float64 { return s.P99 })})
	}
	fmt.Fprintf(os.Stderr, "%s %s %s\n", time.Now().Format("15:04:05"), place, loadName(load, rate))
}

// zeroIfNaN is for JSON, which has no NaN.
func zeroIfNaN(x float64) float64 {
	if x != x {
		return 0
	}
	return x
}

// order is that of the tables' rows.
func order(contender string) int {
	return slices.Index([]string{"bare", "leno-socket", "leno-proxy", "leno-proxy-tcp", "nginx", "haproxy", "haproxy-tcp",
		"envoy", "envoy-tcp"}, contender)
}

func loadName(load string, rate float64) string {
	if rate == 0 {
		return load
	}
	return fmt.Sprintf("%s at %.0f %%", load, 100*rate)
}

func (r *Report) printHead(w io.Writer) {
	fmt.Fprintf(w, "%s, Linux %s, processors %s, %s, commit %s\n", r.Machine, r.Kernel, r.CPUs, r.Go, r.Commit)
	fmt.Fprintf(w, "%d rounds of %.0f s slices; every proxy has %d worker; the server is one nginx worker if there is nginx\n",
		r.Rounds, r.Seconds, workers)
	for _, m := range r.Missing {
		fmt.Fprintf(w, "missing: %s: %s\n", m.Name, m.Why)
	}
}

// print writes the tables.
func (r *Report) print(out io.Writer) {
	fmt.Fprintln(out, "\nRatios to bare of the same round: median (interval). CPU: non-idle time of the whole machine per request.")
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	last := ""
	for _, x := range r.Results {
		head := x.Place + ", " + loadName(x.Load, x.OpenRate)
		if head != last {
			fmt.Fprintf(w, "\n%s\tper second\tthroughput\tCPU\tp50\tp99\t\n", head)
			last = head
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Contender, perSecond(x), ratio(x.Throughput), ratio(x.CPU),
			latency(x, x.P50, func(s Slice) float64 { return s.P50 }), latency(x, x.P99, func(s Slice) float64 { return s.P99 }), x.remarks())
	}
	fmt.Fprintf(w, "\nmemory after all loads\tanonymous\tmaps\t\n")
	for _, m := range r.Memory {
		fmt.Fprintf(w, "  %s\t%.1f MB\t%.1f MB\t\n", m.Contender, float64(m.Anonymous)/1e6, float64(m.Maps)/1e6)
	}
	for i, f := range r.Scale {
		if i == 0 {
			fmt.Fprintf(w, "\nleno alone\t\t\n")
		}
		fmt.Fprintf(w, "  %s\t%.4g %s\t%s\n", f.Name, f.Value, f.Unit, f.Detail)
	}
	w.Flush()
	for _, e := range r.Errors {
		fmt.Fprintln(out, "error:", e)
	}
}

func perSecond(x Result) string {
	if x.Load == "bulk-tcp" {
		return fmt.Sprintf("%.2f GB", x.PerSecond/1e9)
	}
	return fmt.Sprintf("%.0f", x.PerSecond)
}

func ratio(e Estimate) string {
	if e.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", e.Median, e.Low, e.High)
}

// latency is the ratio and the median itself; nothing for closed loops and for who did not carry the rate.
func latency(x Result, e Estimate, of func(Slice) float64) string {
	var us []float64
	for _, s := range x.Slices {
		if s.Saturated {
			return "-"
		}
		if of(s) > 0 {
			us = append(us, of(s))
		}
	}
	if len(us) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s %.0f us", ratio(e), median(us))
}

func (x Result) remarks() string {
	failed, saturated := 0, 0
	for _, s := range x.Slices {
		failed += s.Failed
		if s.Saturated {
			saturated++
		}
	}
	var words []string
	if failed > 0 {
		words = append(words, fmt.Sprintf("%d failed", failed))
	}
	if saturated > 0 {
		words = append(words, fmt.Sprintf("could not carry the rate in %d of %d", saturated, len(x.Slices)))
	}
	return strings.Join(words, ", ")
}

// write writes the JSON file, if one was asked for.
func (r *Report) write(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
