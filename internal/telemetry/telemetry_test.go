// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

// tier is a source with fixed samples.
type tier []Sample

func (t tier) Collect(emit func(Sample)) {
	for _, s := range t {
		emit(s)
	}
}

func cx(name string, v uint64) Sample {
	return Sample{Name: "cluster." + name + ".upstream_cx_total", Base: "cluster.upstream_cx_total",
		Labels: []Label{{"envoy.cluster_name", name}}, Value: v}
}

func connectMs(counts ...uint64) Sample {
	return Sample{Name: "cluster.blue.upstream_cx_connect_ms", Base: "cluster.upstream_cx_connect_ms", Kind: Histogram,
		Labels: []Label{{"envoy.cluster_name", "blue"}}, Hist: &Hist{Bounds: []float64{1, 5}, Counts: counts, Sum: 9}}
}

func TestGatherAddsTiers(t *testing.T) {
	all := Gather(tier{cx("green", 1), cx("blue", 2), connectMs(1, 0, 2)}, tier{cx("blue", 3), connectMs(0, 4, 1)})
	if len(all) != 3 || all[0].Name != "cluster.blue.upstream_cx_connect_ms" || all[1].Value != 5 || all[2].Value != 1 {
		t.Fatalf("%+v", all)
	}
	if h := all[0].Hist; h.Counts[0] != 1 || h.Counts[1] != 4 || h.Counts[2] != 3 || h.Sum != 18 {
		t.Errorf("histograms are not added: %+v", h)
	}
}

func TestOtherBoundsNeverMakeAValueSmaller(t *testing.T) {
	a := connectMs(0, 0, 0)
	b := connectMs()
	b.Hist = &Hist{Bounds: []float64{0.5, 3, 100}, Counts: []uint64{1, 1, 1, 1}}
	h := Gather(tier{a}, tier{b})[0].Hist
	if h.Counts[0] != 1 || h.Counts[1] != 1 || h.Counts[2] != 2 {
		t.Errorf("%+v", h)
	}
}

func get(t *testing.T, url string, all []Sample) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	ServeStats(w, httptest.NewRequest("GET", url, nil), all)
	return w.Code, w.Body.String()
}

func TestText(t *testing.T) {
	all := Gather(tier{cx("blue", 7), cx("green", 0), connectMs(10, 0, 0), {Name: "z", Base: "z", Kind: Histogram, Hist: &Hist{}}})
	code, body := get(t, "/stats", all)
	want := "cluster.blue.upstream_cx_total: 7\ncluster.green.upstream_cx_total: 0\n" +
		"cluster.blue.upstream_cx_connect_ms: P0(nan,0) P25(nan,0.25) P50(nan,0.5) P75(nan,0.75) P90(nan,0.9) " +
		"P95(nan,0.95) P99(nan,0.99) P99.5(nan,0.995) P99.9(nan,0.999) P100(nan,1)\nz: No recorded values\n"
	if code != 200 || body != want {
		t.Errorf("%d\n%s\nwant\n%s", code, body, want)
	}
	if _, body := get(t, "/stats?usedonly&filter=upstream_cx_total$", all); body != "cluster.blue.upstream_cx_total: 7\n" {
		t.Errorf("usedonly and filter: %q", body)
	}
	if code, _ := get(t, "/stats?filter=(", all); code != 400 {
		t.Errorf("bad regex: %d", code)
	}
	if code, _ := get(t, "/stats?format=xml", all); code != 400 {
		t.Errorf("bad format: %d", code)
	}
}

func TestJSON(t *testing.T) {
	_, body := get(t, "/stats?format=json", Gather(tier{cx("blue", 7), connectMs(1, 1, 0)}))
	var got struct {
		Stats []struct {
			Name       string
			Value      *uint64
			Histograms *struct {
				SupportedQuantiles []float64 `json:"supported_quantiles"`
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Stats) != 2 || *got.Stats[0].Value != 7 ||
		got.Stats[1].Histograms == nil || len(got.Stats[1].Histograms.SupportedQuantiles) != 10 {
		t.Errorf("%v: %s", err, body)
	}
}

func TestPrometheus(t *testing.T) {
	own := Sample{Name: "leno.connect.endpoint", Base: "leno.connect", Labels: []Label{{"reason", `a"b\c`}}, Value: 3}
	_, body := get(t, "/stats?format=prometheus", Gather(tier{cx("blue", 7), cx("green", 1), connectMs(1, 2, 3), own}))
	want := `# TYPE envoy_cluster_upstream_cx_connect_ms histogram
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="blue",le="1"} 1
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="blue",le="5"} 3
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="blue",le="+Inf"} 6
envoy_cluster_upstream_cx_connect_ms_sum{envoy_cluster_name="blue"} 9
envoy_cluster_upstream_cx_connect_ms_count{envoy_cluster_name="blue"} 6

# TYPE envoy_cluster_upstream_cx_total counter
envoy_cluster_upstream_cx_total{envoy_cluster_name="blue"} 7
envoy_cluster_upstream_cx_total{envoy_cluster_name="green"} 1

# TYPE leno_connect counter
leno_connect{reason="a\"b\\c"} 3

`
	if body != want {
		t.Errorf("got\n%s\nwant\n%s", body, strings.TrimSpace(want))
	}
}
