// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEstimate(t *testing.T) {
	// Coverage by the binomial distribution: 1-2/2^5, 1-2*(1+9)/2^9, ...
	for _, c := range []struct {
		x    []float64
		want Estimate
	}{
		{nil, Estimate{}},
		{[]float64{3}, Estimate{Median: 3, Low: 3, High: 3, Coverage: 0, N: 1}},
		{[]float64{2, 1}, Estimate{Median: 1.5, Low: 1, High: 2, Coverage: 0.5, N: 2}},
		{[]float64{5, 1, 3, 2, 4}, Estimate{Median: 3, Low: 1, High: 5, Coverage: 0.9375, N: 5}},
		{[]float64{9, 8, 7, 6, 5, 4, 3, 2, 1}, Estimate{Median: 5, Low: 2, High: 8, Coverage: 1 - 20.0/512, N: 9}},
	} {
		got := estimate(c.x)
		if math.Abs(got.Coverage-c.want.Coverage) > 1e-9 {
			t.Errorf("%v: coverage %v, want %v", c.x, got.Coverage, c.want.Coverage)
		}
		got.Coverage = c.want.Coverage
		if got != c.want {
			t.Errorf("%v: %+v, want %+v", c.x, got, c.want)
		}
	}
}

func TestRatiosArePaired(t *testing.T) {
	// A machine that became ten times slower between the rounds changes nothing.
	got := ratios([]float64{90, 9, 0, 45}, []float64{100, 10, 5, 0})
	if !slices.Equal(got, []float64{0.9, 0.9}) {
		t.Errorf("ratios %v, want 0.9 twice: rounds without both are left out", got)
	}
}

func TestQuantile(t *testing.T) {
	x := make([]int64, 1000)
	for i := range x {
		x[i] = int64(i)
	}
	for q, want := range map[float64]int64{0: 0, 0.5: 500, 0.99: 990, 1: 999} {
		if got := quantile(x, q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
}

func TestParseWrk(t *testing.T) {
	r, err := parseWrk(`Running 1s test @ http://127.0.0.1:21080/small
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   105.21us  123.00us   4.41ms   98.93%
    Req/Sec   156.41k     6.38k  162.35k    81.82%
  171163 requests in 1.10s, 49.13MB read
  Socket errors: connect 0, read 3, write 1, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec: 155627.56
`)
	if want := (wrkResult{171163, 13, 1100 * time.Millisecond}); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if _, err := parseWrk("unable to connect to 127.0.0.1:1 Connection refused\n"); err == nil {
		t.Error("no error where wrk could not connect")
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy(strings.NewReader("cpu  100 5000 200 90000 7 10 20 3 0 0\ncpu0 1 2 3\n"))
	if want := 3300 * time.Millisecond; err != nil || got != want {
		t.Errorf("busy %v, %v, want %v: user, system, irq and softirq, but neither nice nor steal", got, err, want)
	}
	if _, err := parseBusy(strings.NewReader("cpu0 1 2 3\n")); err == nil {
		t.Error("no error for a file without the sum")
	}
}

func TestParseMemory(t *testing.T) {
	n, err := parseKiB(strings.NewReader("Rss:  100 kB\nAnonymous:      1234 kB\n"), "Anonymous:")
	if err != nil || n != 1234<<10 {
		t.Errorf("anonymous %d, %v, want %d", n, err, 1234<<10)
	}
	id, n, ok := parseMap("pos:\t0\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t17\n")
	if id != "17" || n != 4096 || !ok {
		t.Errorf("map %q %d %t, want 17, 4096", id, n, ok)
	}
	if _, _, ok := parseMap("pos:\t0\nflags:\t02\n"); ok {
		t.Error("a file that is no map was taken for one")
	}
}

func TestParseCPUs(t *testing.T) {
	var set unix.CPUSet
	if err := parseCPUs("0-2,5", &set); err != nil || set.Count() != 4 || !set.IsSet(5) || set.IsSet(3) {
		t.Errorf("%v, %d processors, want 0, 1, 2 and 5", err, set.Count())
	}
	for _, bad := range []string{"", "a", "2-1", "-1", "0,"} {
		if parseCPUs(bad, &set) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestTakeAnswer(t *testing.T) {
	c := &openConn{body: -1}
	for i, piece := range []string{"HTTP/1.1 200 OK\r\nContent-", "Length: 6\r\n\r\nab", "cd"} {
		if done, err := c.take([]byte(piece)); done || err != nil {
			t.Fatalf("piece %d: %t, %v, want more to come", i, done, err)
		}
	}
	if done, err := c.take([]byte("ef")); !done || err != nil {
		t.Errorf("last piece: %t, %v, want the end", done, err)
	}
	for _, bad := range []string{"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"} {
		if _, err := (&openConn{body: -1}).take([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a good answer", bad)
		}
	}
}
