// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy"
	"github.com/leno-mesh/leno/internal/table"
)

// request is what `explain --request` asks about.
type request struct {
	line     string   // METHOD URL
	headers  []string // "name: value"
	listener string
	from     string
}

// answer is what it prints.
type answer struct {
	Tier table.Tier `json:"tier"`
	Why  string     `json:"why"`
	*proxy.Explanation
}

// explain finds out what becomes of the request.
func (r *request) explain(m *meshed) (*answer, error) {
	method, target, ok := strings.Cut(r.line, " ")
	u, err := url.Parse(target)
	if !ok || err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("--request %q: give a method and an address, such as 'GET http://shop/x'", r.line)
	}
	scope := m.config.Scopes[0]
	l, err := r.pick(scope, u)
	if err != nil {
		return nil, err
	}
	q := proxy.Question{Scope: scope.Cgroup, Listener: l, To: l.Address}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if l.Address.Addr().Is6() {
		loopback = netip.IPv6Loopback()
	}
	if l.Address.Addr().IsUnspecified() {
		q.To = netip.AddrPortFrom(loopback, l.Address.Port())
	}
	from := loopback
	if r.from != "" {
		if from, err = netip.ParseAddr(r.from); err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
	}
	q.From = netip.AddrPortFrom(from.Unmap(), 40000) // any port that a client may have
	if q.Head, err = r.head(method, u); err != nil {
		return nil, err
	}
	e, err := proxy.Explain(m.config, m.hosts, &q)
	if err != nil {
		return nil, err
	}
	a := &answer{Explanation: e}
	a.Tier, a.Why = reason(m.tables.Reasons, e)
	return a, nil
}

// pick chooses the listener: by name, by the port of the address, or the only one.
func (r *request) pick(scope *mesh.Scope, u *url.URL) (*mesh.Listener, error) {
	port := cmp.Or(u.Port(), "80")
	var all []string
	var fit []*mesh.Listener
	for _, l := range scope.Listeners {
		all = append(all, l.Name)
		if l.Name == r.listener || r.listener == "" && fmt.Sprint(l.Address.Port()) == port {
			fit = append(fit, l)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case r.listener == "" && len(fit) == 0 && len(scope.Listeners) == 1:
		return scope.Listeners[0], nil
	case r.listener != "":
		return nil, fmt.Errorf("--listener: there is no %s, but %s", r.listener, strings.Join(all, ", "))
	}
	return nil, fmt.Errorf("%d listeners have port %s: choose with --listener one of %s", len(fit), port, strings.Join(all, ", "))
}

// head is the request as it would be on the wire.
func (r *request) head(method string, u *url.URL) (string, error) {
	host := func(h string) bool { name, _, _ := strings.Cut(h, ":"); return strings.EqualFold(name, "host") }
	lines := []string{method + " " + u.RequestURI() + " HTTP/1.1"}
	if !slices.ContainsFunc(r.headers, host) {
		lines = append(lines, "host: "+u.Host)
	}
	lines = append(lines, r.headers...)
	for _, l := range lines {
		if strings.ContainsAny(l, "\r\n") {
			return "", errors.New("--request and -H must be of one line each")
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n", nil
}

// reason is the most specific one that is given for what the request meets.
func reason(all []table.Reason, e *proxy.Explanation) (tier table.Tier, why string) {
	best := -1
	for _, r := range all {
		rank := 0
		if r.Listener != e.Listener || r.Chain != "" && r.Chain != e.Chain || r.Route != "" && r.Route != e.Route {
			continue
		}
		if r.Chain != "" {
			rank++
		}
		if r.Route != "" {
			rank += 2
		}
		if rank > best {
			best, tier, why = rank, r.Tier, r.Why
		}
	}
	return tier, why
}

func printAnswer(out io.Writer, a *answer) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("listener", "%s", a.Listener)
	if a.Chain != "" {
		row("filter chain", "%s", a.Chain)
	}
	if a.Route != "" {
		row("virtual host", "%s", cmp.Or(a.VirtualHost, "-"))
		row("route", "%s", a.Route)
	}
	for _, f := range a.Filters {
		row("filter", "%s %s", f.Name, f.Does)
	}
	if n := a.Answer; n != nil {
		row("answer", "%s", strings.Join(strings.Fields(fmt.Sprint(n.Status, " ", n.Location, " ", n.Body)), " "))
	}
	if a.Note != "" {
		row("note", "%s", a.Note)
	}
	if r := a.Request; r != nil {
		row("upstream sees", "%s %s", r.Method, r.Path)
		for _, h := range r.Headers {
			row("", "%s", h)
		}
	}
	if a.Timeout != "" {
		row("timeout", "%s", a.Timeout)
	}
	for _, c := range a.Clusters {
		row("cluster", "%s", c.Name+share(a.Clusters, c.Weight)+sentence(c.Note))
		for _, h := range c.Hosts {
			state := fmt.Sprintf("%s, weight %d, priority %d", h.Health, h.Weight, h.Priority)
			if !h.Candidate {
				state += ", not chosen now"
			}
			row("", "%s  %s", h.Address, state)
		}
	}
	for _, m := range a.Mirrors {
		row("mirror", "%s", m)
	}
	row("tier", "%s: %s", a.Tier, a.Why)
}

// share says how much of a split has the weight.
func share(all []proxy.ClusterExplanation, weight uint32) string {
	if len(all) < 2 {
		return ""
	}
	var sum uint64
	for _, c := range all {
		sum += uint64(c.Weight)
	}
	return fmt.Sprintf(" (%d of %d)", weight, sum)
}

func sentence(note string) string {
	if note == "" {
		return ""
	}
	return ": " + note
}
