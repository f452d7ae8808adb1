// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"strings"
	"testing"
	"time"
)

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		split     Split
		n         int
		low, high int
	}{
		{Split{100, 0}, 1000, 0, 0},
		{Split{0, 100}, 1000, 1000, 1000},
		{Split{50, 50}, 10000, 4775, 5225}, // sigma 50
		{Split{90, 10}, 10000, 865, 1135},  // sigma 30
		{Split{1, 1}, 4, 0, 4},
	} {
		if low, high := c.split.within(c.n); low != c.low || high != c.high {
			t.Errorf("%s of %d: %d to %d, want %d to %d", c.split, c.n, low, high, c.low, c.high)
		}
	}
}

var t0 = time.Unix(1000, 0)

func at(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }

// answersOf adds n answers, one a millisecond from ms on.
func answersOf(t *tally, n, ms int, e event) {
	for i := range n {
		e.Start, e.Took = at(ms+i).UnixNano(), int64(100*time.Microsecond)
		t.add(e)
	}
}

func TestTally(t *testing.T) {
	var y tally
	y.edit(Split{100, 0}, at(0))
	y.settled(at(10))
	answersOf(&y, 200, 20, event{Service: serviceHTTP, Version: "v1", Split: "100/0"})
	answersOf(&y, 200, 20, event{Service: serviceTCP, Version: "v1", Own: true})
	answersOf(&y, 200, 20, event{Service: serviceOpen, Version: "v1", Own: true})
	y.edit(Split{50, 50}, at(1000))
	// What was routed by the first edit stays the first's, also after the second.
	answersOf(&y, 50, 1000, event{Service: serviceHTTP, Version: "v1", Split: "100/0"})
	answersOf(&y, 200, 1050, event{Service: serviceHTTP, Version: "v1", Split: "50/50"})
	answersOf(&y, 200, 1250, event{Service: serviceHTTP, Version: "v2", Split: "50/50"})
	// TCP counts only after settling.
	answersOf(&y, 300, 1000, event{Service: serviceTCP, Version: "v1", Own: true})
	y.settled(at(2000))
	answersOf(&y, 100, 2000, event{Service: serviceTCP, Version: "v1", Own: true})
	answersOf(&y, 100, 2100, event{Service: serviceTCP, Version: "v2", Own: true})
	y.agentDied(at(2500))
	answersOf(&y, 10, 2600, event{Service: serviceHTTP, Error: "refused"})
	y.agentBack(at(2700))
	y.close(at(3000))

	if got := y.phases[1].live; got != 50*time.Millisecond+100*time.Microsecond {
		t.Errorf("the second edit was live after %s, want 50.1ms", got)
	}
	rows := y.rows()
	want := []struct{ v1, v2, allowed int }{{250, 0, 0}, {200, 0, 0}, {200, 200, 10}, {100, 100, 0}}
	for i, w := range want {
		r := rows[i]
		if r.V1 != w.v1 || r.V2 != w.v2 || r.Allowed != w.allowed || r.Failed != 0 {
			t.Errorf("row %d (%s %s): %+v, want %+v", i, r.Service, r.Split, r, w)
		}
		if p := r.problems(); p != nil {
			t.Errorf("row %d: problems %q, want none", i, p)
		}
	}
	if p := y.open().problems(); p != nil {
		t.Errorf("open connection: %q, want nothing", p)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(y *tally)
		want string
	}{
		{"wrong share", func(y *tally) {
			answersOf(y, 200, 20, event{Service: serviceTCP, Version: "v2", Own: true})
		}, "expected"},
		{"nothing measured", func(*tally) {}, "only 0 answers"},
		{"somebody between", func(y *tally) {
			answersOf(y, 100, 20, event{Service: serviceTCP, Version: "v1", Own: true})
			answersOf(y, 100, 120, event{Service: serviceTCP, Version: "v2"})
		}, "own connection"},
		{"TCP failed while the agent was dead", func(y *tally) {
			answersOf(y, 100, 20, event{Service: serviceTCP, Version: "v1", Own: true})
			answersOf(y, 100, 120, event{Service: serviceTCP, Version: "v2", Own: true})
			y.agentDied(at(300))
			answersOf(y, 1, 310, event{Service: serviceTCP, Error: "refused"})
		}, "1 failed that must not, first: refused"},
	} {
		var y tally
		y.edit(Split{50, 50}, at(0))
		y.settled(at(10))
		c.make(&y)
		y.close(at(1000))
		got := strings.Join(y.rows()[1].problems(), "; ")
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q in it", c.name, got, c.want)
		}
	}
	var y tally
	y.edit(Split{50, 50}, at(0))
	answersOf(&y, 1, 10, event{Service: serviceHTTP, Error: "reset"})
	if r := y.rows()[0]; r.Failed != 1 || r.Allowed != 0 {
		t.Errorf("an HTTP request that failed while the agent lived: %+v, want it among the failed", r)
	}
}
