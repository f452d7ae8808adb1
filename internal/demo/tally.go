// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// phase is the time from one edit of the split to the next.
type phase struct {
	split  Split
	edited time.Time // the files were renamed into place
	from   time.Time // TCP is counted from here; zero: not yet
	to     time.Time // zero: still the present one
	live   time.Duration
}

// span is a time; a zero end is open.
type span struct{ from, to time.Time }

func (s span) touches(e event) bool {
	return !e.end().Before(s.from) && (s.to.IsZero() || !e.start().After(s.to))
}

// tally counts events. Its methods may be called from any goroutine.
type tally struct {
	mu     sync.Mutex
	events []event
	phases []*phase
	dead   []span // the agent was down
}

func (t *tally) add(e event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
	if e.Split == "" || e.Direct {
		return
	}
	for _, p := range t.phases {
		if p.live == 0 && p.split.String() == e.Split && e.end().After(p.edited) {
			p.live = e.end().Sub(p.edited)
		}
	}
}

// edit begins the next phase.
func (t *tally) edit(s Split, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.phases); n > 0 {
		t.phases[n-1].to = at
	}
	t.phases = append(t.phases, &phase{split: s, edited: at})
}

// liveAfter is how long after the edit the first answer said that it was routed by it; 0: none has yet.
func (t *tally) liveAfter() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.phases) == 0 {
		return 0
	}
	return t.phases[len(t.phases)-1].live
}

// lastError is why the newest request through HTTP's listener failed, if it did: the likely cause of a split that
// does not become live.
func (t *tally) lastError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range slices.Backward(t.events) {
		if e.Service == serviceHTTP && !e.Direct {
			if e.Error != "" {
				return errors.New("the last request failed: " + e.Error)
			}
			return fmt.Errorf("the last request went by the split %q", e.Split)
		}
	}
	return nil
}

// settled says from when on TCP connections are counted in the present phase: they carry no word of their split.
func (t *tally) settled(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phases[len(t.phases)-1].from = at
}

func (t *tally) close(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.phases); n > 0 {
		t.phases[n-1].to = at
	}
}

func (t *tally) agentDied(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dead = append(t.dead, span{from: at})
}

func (t *tally) agentBack(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.dead); n > 0 && t.dead[n-1].to.IsZero() {
		t.dead[n-1].to = at
	}
}

// row is what one service did, in one phase or in all.
type row struct {
	Service    string
	Split      Split
	V1, V2     int
	Own        int // answers that came on the client's own connection, with nobody between
	P50, P99   time.Duration
	Direct50   time.Duration
	Direct99   time.Duration
	Allowed    int    // failed while the agent was dead, where the design says so
	Failed     int    // failed and must not have
	FirstError string // of those
	Live       time.Duration
}

func (r row) answers() int { return r.V1 + r.V2 }

// tier is what the servers saw, not what the agent says of itself.
func (r row) tier() string {
	switch {
	case r.answers() == 0:
		return "-"
	case r.Own == r.answers():
		return "socket"
	case r.Own == 0:
		return "proxy"
	default:
		return "both"
	}
}

// rows returns HTTP and TCP of each phase, in order.
func (t *tally) rows() []row {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []row
	for _, p := range t.phases {
		p := p
		all = append(all,
			t.row(serviceHTTP, p, func(e event) bool { return e.Split == p.split.String() }),
			t.row(serviceTCP, p, func(e event) bool {
				return !p.from.IsZero() && !e.start().Before(p.from) && (p.to.IsZero() || !e.end().After(p.to))
			}))
	}
	return all
}

// row counts the answers that in says belong to the phase, and the failures that happened in its time.
func (t *tally) row(service string, p *phase, in func(event) bool) row {
	r := row{Service: service, Split: p.split, Live: p.live}
	time := span{p.edited, p.to}
	var mesh, direct []int64
	for _, e := range t.events {
		switch {
		case e.Service != service:
		case e.Direct:
			if e.Error == "" && time.touches(e) {
				direct = append(direct, e.Took)
			}
		case e.Error != "":
			if !e.start().Before(time.from) && (time.to.IsZero() || e.start().Before(time.to)) {
				t.fail(&r, e)
			}
		case in(e):
			mesh = append(mesh, e.Took)
			r.count(e)
		}
	}
	r.P50, r.P99 = percentiles(mesh)
	r.Direct50, r.Direct99 = percentiles(direct)
	return r
}

// open is the connection that stays open.
func (t *tally) open() row {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := row{Service: serviceOpen}
	var took []int64
	for _, e := range t.events {
		switch {
		case e.Service != serviceOpen:
		case e.Error != "":
			t.fail(&r, e)
		default:
			took = append(took, e.Took)
			r.count(e)
		}
	}
	r.P50, r.P99 = percentiles(took)
	return r
}

func (r *row) count(e event) {
	switch e.Version {
	case "v1":
		r.V1++
	case "v2":
		r.V2++
	}
	if e.Own {
		r.Own++
	}
}

// fail counts a failure: only HTTP needs the agent, and only while it is dead may it fail.
func (t *tally) fail(r *row, e event) {
	if e.Service == serviceHTTP {
		for _, d := range t.dead {
			if d.touches(e) {
				r.Allowed++
				return
			}
		}
	}
	if r.Failed++; r.FirstError == "" {
		r.FirstError = e.Error
	}
}

// percentiles sorts its argument.
func percentiles(ns []int64) (p50, p99 time.Duration) {
	if len(ns) == 0 {
		return 0, 0
	}
	slices.Sort(ns)
	return time.Duration(ns[len(ns)/2]), time.Duration(ns[len(ns)*99/100])
}

// sigmas is how far from its share a version may be: beyond it lies one honest experiment in 150,000.
const sigmas = 4.5

// leastAnswers is what a phase needs to say anything about shares.
const leastAnswers = 100

// within returns how many of n answers may come from version two, at least and at most.
func (s Split) within(n int) (low, high int) {
	p := float64(s.V2) / float64(s.V1+s.V2)
	mean, d := float64(n)*p, sigmas*math.Sqrt(float64(n)*p*(1-p))
	return int(math.Ceil(math.Max(0, mean-d))), int(math.Floor(math.Min(float64(n), mean+d)))
}

// problems lists what makes the demo fail; nothing is a success.
func (r row) problems() []string {
	var bad []string
	say := func(format string, a ...any) { bad = append(bad, fmt.Sprintf(format, a...)) }
	if r.Service == serviceOpen {
		if r.answers() < leastAnswers {
			say("open connection: only %d answers", r.answers())
		}
	} else {
		low, high := r.Split.within(r.answers())
		if r.answers() < leastAnswers {
			say("%s at %s: only %d answers", r.Service, r.Split, r.answers())
		} else if r.V2 < low || r.V2 > high {
			say("%s at %s: %d of %d from version two, expected %d to %d", r.Service, r.Split, r.V2, r.answers(), low, high)
		}
	}
	if r.Service != serviceHTTP && r.answers() > 0 && r.tier() != "socket" {
		say("%s at %s: only %d of %d answers on the client's own connection", r.Service, r.Split, r.Own, r.answers())
	}
	if r.Failed > 0 {
		say("%s at %s: %d failed that must not, first: %s", r.Service, r.Split, r.Failed, r.FirstError)
	}
	return bad
}
