// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// view shows the experiment. Its methods may be called from any goroutine.
type view struct {
	out      io.Writer
	terminal bool
	tally    *tally
	began    time.Time

	mu     sync.Mutex
	said   []string // what happened, for the terminal's redraw
	height int      // lines of the last draw
}

// redraw is how often a terminal's table is drawn.
const redraw = 250 * time.Millisecond

// run draws the table again and again on a terminal; else it only waits.
func (v *view) run(ctx context.Context) error {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if v.terminal {
			v.draw(false)
		}
	}
}

// say tells of one step.
func (v *view) say(format string, a ...any) {
	line := fmt.Sprintf("%5.1f s  %s", time.Since(v.began).Seconds(), fmt.Sprintf(format, a...))
	v.mu.Lock()
	v.said = append(v.said, line)
	v.mu.Unlock()
	if v.terminal {
		v.draw(false)
	} else {
		fmt.Fprintln(v.out, line)
	}
}

func (v *view) print(format string, a ...any) { fmt.Fprintf(v.out, format, a...) }

// draw replaces the last table. All but the last are cut at the terminal's edge: a line that wraps would spoil the
// count of lines to go back.
func (v *view) draw(last bool) {
	text := v.table()
	v.mu.Lock()
	defer v.mu.Unlock()
	text += "\n" + strings.Join(v.said, "\n") + "\n"
	if v.height > 0 {
		// Back to the first line of the last table, and forget what is below.
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.height)
	}
	if last {
		fmt.Fprint(v.out, text)
	} else {
		fmt.Fprint(v.out, "\x1b[?7l", text, "\x1b[?7h")
	}
	v.height = strings.Count(text, "\n")
}

// table is all phases so far.
func (v *view) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "service\tsplit\ttier\tv1\tv2\twanted v2\tgot v2\tp50\tp99\tdirect p50\tp99\tfailed\tagent dead\t")
	for _, r := range v.tally.rows() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d %%\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t\n", r.Service, r.Split, r.tier(), r.V1, r.V2,
			100*r.Split.V2/(r.Split.V1+r.Split.V2), share(r), short(r.P50), short(r.P99), short(r.Direct50), short(r.Direct99),
			r.Failed, r.Allowed)
	}
	r := v.tally.open()
	fmt.Fprintf(w, "%s\t-\t%s\t%d\t%d\t-\t-\t%s\t%s\t\t\t%d\t%d\t\n", r.Service, r.tier(), r.V1, r.V2,
		short(r.P50), short(r.P99), r.Failed, r.Allowed)
	w.Flush()
	return b.String()
}

func share(r row) string {
	if r.answers() == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(r.V2)/float64(r.answers()))
}

// short is a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// summary prints the last table and what it means, and returns the verdict.
func (v *view) summary() error {
	if v.terminal {
		v.draw(true)
	} else {
		fmt.Fprintf(v.out, "\n%s", v.table())
	}
	fmt.Fprint(v.out, `
http: requests on keep-alive connections; tcp: one connection each; open: one connection from beginning to end.
tier: socket if the server saw the client's own port, proxy if somebody stood between. "agent dead": failed while
there was no agent, which HTTP may (it fails closed) and TCP may not. direct: version one asked at its own address.
`)
	bad := v.tally.open().problems()
	for _, r := range v.tally.rows() {
		bad = append(bad, r.problems()...)
	}
	if len(bad) > 0 {
		return errors.New("the demo did not show what it should:\n  " + strings.Join(bad, "\n  "))
	}
	fmt.Fprintf(v.out, "\nEvery share was within %.1f standard deviations of what was asked for; nothing failed that must not.\n", sigmas)
	return nil
}
