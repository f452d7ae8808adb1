// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// groups counts equal answers.
type groups struct {
	texts  []string
	counts map[string]int
}

func (g *groups) add(text string) { g.addN(text, 1) }

func (g *groups) addN(text string, n int) {
	if g.counts == nil {
		g.counts = map[string]int{}
	}
	if g.counts[text] == 0 {
		g.texts = append(g.texts, text)
	}
	g.counts[text] += n
}

// String writes a single answer plainly, several as "N times" blocks sorted by text.
func (g *groups) String() string {
	if len(g.texts) == 1 && g.counts[g.texts[0]] == 1 {
		return g.texts[0]
	}
	texts := slices.Clone(g.texts)
	slices.Sort(texts)
	var b strings.Builder
	for _, t := range texts {
		fmt.Fprintf(&b, "%d times\n%s", g.counts[t], t)
	}
	return b.String()
}

// parseGroups reads what String wrote.
func parseGroups(text string) groups {
	var g groups
	n, current, started := 1, "", false
	flush := func() {
		if started {
			g.addN(current, n)
		}
	}
	for _, line := range strings.SplitAfter(text, "\n") {
		var count int
		if _, err := fmt.Sscanf(line, "%d times", &count); err == nil {
			flush()
			n, current, started = count, "", true
			continue
		}
		if line != "" {
			current += line
			started = true
		}
	}
	flush()
	return g
}

// recording is the answers of one run: per step, in order.
type recording struct {
	labels []string
	steps  map[string]groups
}

func parseRecording(text string) recording {
	r := recording{steps: map[string]groups{}}
	var label, current string
	flush := func() {
		if label != "" {
			r.labels = append(r.labels, label)
			r.steps[label] = parseGroups(current)
		}
	}
	for _, line := range strings.SplitAfter(text, "\n") {
		if head, ok := strings.CutPrefix(line, "== "); ok {
			flush()
			label, current = strings.TrimSuffix(head, "\n"), ""
			continue
		}
		if label != "" {
			current += line
		}
	}
	flush()
	return r
}

// compare says where two runs of the same scenario differ; nothing: they are equal.
func compare(steps []step, want, got recording) []string {
	var diffs []string
	for _, st := range steps {
		w, okW := want.steps[st.label]
		g, okG := got.steps[st.label]
		if !okW {
			diffs = append(diffs, fmt.Sprintf("step %q: not recorded; run with -record", st.label))
			continue
		}
		if !okG {
			diffs = append(diffs, fmt.Sprintf("step %q: no answer", st.label))
			continue
		}
		if d := compareGroups(w, g, st.random); d != "" {
			diffs = append(diffs, fmt.Sprintf("step %q: %s", st.label, d))
		}
	}
	for _, l := range want.labels {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.label == l }) {
			diffs = append(diffs, fmt.Sprintf("step %q: recorded, but there is no such step any more; run with -record", l))
		}
	}
	return diffs
}

func compareGroups(want, got groups, random bool) string {
	if random && sameText(want, got) {
		return outOfBounds(want, got)
	}
	w, g := want.String(), got.String()
	if w == g {
		return ""
	}
	return "differs (- wanted, + got)\n" + lineDiff(w, g)
}

func sameText(a, b groups) bool {
	for t := range a.counts {
		if b.counts[t] == 0 {
			return false
		}
	}
	return len(a.counts) == len(b.counts)
}

// outOfBounds compares two random splits: each count must lie within 4.5 standard deviations of the
// difference of two binomial draws, so that a correct run fails about once in 100,000.
func outOfBounds(want, got groups) string {
	nW, nG := total(want), total(got)
	for t, k := range want.counts {
		p := float64(k+got.counts[t]) / float64(nW+nG)
		bound := 4.5 * math.Sqrt(p*(1-p)*(1/float64(nW)+1/float64(nG)))
		shareW, shareG := float64(k)/float64(nW), float64(got.counts[t])/float64(nG)
		if math.Abs(shareW-shareG) > bound {
			return fmt.Sprintf("share %.3f where %.3f ± %.3f was wanted, of\n%s", shareG, shareW, bound, t)
		}
	}
	return ""
}

func total(g groups) int {
	n := 0
	for _, k := range g.counts {
		n += k
	}
	return n
}

// lineDiff is a plain longest-common-subsequence difference; answers are short.
func lineDiff(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	lcs := make([][]int, len(x)+1)
	for i := range lcs {
		lcs[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				lcs[i][j] = lcs[i+1][j+1] + 1
			} else {
				lcs[i][j] = max(lcs[i+1][j], lcs[i][j+1])
			}
		}
	}
	var out strings.Builder
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			fmt.Fprintf(&out, "  %s\n", x[i])
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && lcs[i+1][j] >= lcs[i][j+1]:
			fmt.Fprintf(&out, "- %s\n", x[i])
			i++
		default:
			fmt.Fprintf(&out, "+ %s\n", y[j])
			j++
		}
	}
	return out.String()
}
