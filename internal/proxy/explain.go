// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
	"github.com/leno-mesh/leno/internal/upstream"
)

// Question is a request that nobody sends.
type Question struct {
	Scope    string // its cgroup
	Listener *mesh.Listener
	// From is the client, To where it has connected to.
	From, To netip.AddrPort
	// Head is the request's head as it is on the wire, with the empty line.
	Head string
}

// Explanation is what the tier would do with a request. What is left to chance is named and not drawn: a fraction is met, and
// all shares of a split are listed.
type Explanation struct {
	Listener string `json:"listener"`
	Chain    string `json:"filter_chain,omitempty"` // empty: no chain takes the connection
	// Of the route that was met, before filters and redirects; empty: none was.
	RouteConfig string `json:"route_config,omitempty"`
	VirtualHost string `json:"virtual_host,omitempty"`
	Route       string `json:"route,omitempty"`
	// Filters are those before the router, in their order, as far as the request comes.
	Filters []FilterExplanation `json:"filters,omitempty"`
	// Note says in words what ends a connection or request that gets neither an answer nor a cluster; else it is empty.
	Note   string             `json:"note,omitempty"`
	Answer *AnswerExplanation `json:"answer,omitempty"` // nil: the upstream answers
	// Request is the head that an upstream would see; nil: none would.
	Request  *RequestExplanation  `json:"request,omitempty"`
	Clusters []ClusterExplanation `json:"clusters,omitempty"`
	Mirrors  []string             `json:"mirrors,omitempty"` // clusters, or fields that name them
	Timeout  string               `json:"timeout,omitempty"` // of the route; empty: none
}

// FilterExplanation is what one HTTP filter does.
type FilterExplanation struct {
	Name string `json:"name"`
	Does string `json:"does"`
}

// AnswerExplanation is an answer without an upstream.
type AnswerExplanation struct {
	Status   int    `json:"status"`
	Body     string `json:"body,omitempty"`
	Location string `json:"location,omitempty"`
}

// RequestExplanation is a head as an upstream would see it. Path includes the query.
type RequestExplanation struct {
	Method  string   `json:"method"`
	Path    string   `json:"path"`
	Headers []string `json:"headers"` // "name: value"
}

// ClusterExplanation is one share of what the request could go to.
type ClusterExplanation struct {
	Name   string            `json:"name"`
	Weight uint32            `json:"weight"`
	Note   string            `json:"note,omitempty"` // why it cannot serve
	Hosts  []HostExplanation `json:"hosts"`
}

// HostExplanation is a member of a cluster. Candidate: balancing may choose it now.
type HostExplanation struct {
	Address   netip.AddrPort `json:"address"`
	Hostname  string         `json:"hostname,omitempty"`
	Health    string         `json:"health"`
	Weight    uint32         `json:"weight"`
	Priority  uint32         `json:"priority"`
	Candidate bool           `json:"candidate"`
}

// Explain says what the tier would do with a request. It runs the code that serves requests, up to the choice of a host, and
// opens no socket. An error is a head that is no request.
func Explain(cfg *mesh.Config, hosts *mesh.Hosts, q *Question) (*Explanation, error) {
	p := New(Options{Counts: upstream.NewCounts(), Log: slog.New(slog.DiscardHandler)})
	_, s := p.compile(cfg, hosts)
	e := &Explanation{Listener: q.Listener.Name}
	v := s.listeners[listenerKey{q.Scope, q.Listener.Name}]
	if v == nil {
		e.Note = "every connect fails: " + q.Listener.Tombstone
		return e, nil
	}
	c := v.chain(&arrival{local: q.To, remote: q.From, direct: q.From, transport: "raw_buffer"})
	if c == nil {
		e.Note = "no filter chain takes the connection: it is closed"
		return e, nil
	}
	e.Chain = q.Listener.ChainName(c.config)
	t := &trial{p: p, scope: q.Scope, e: e}
	switch {
	case c.config.Tombstone != "":
		e.Note = "the connection is closed: " + c.config.Tombstone
	case c.config.TCP != nil:
		t.shares(c.config.TCP.Clusters)
	case c.config.HTTP == nil:
		e.Note = "a network filter answers the connection"
	default:
		return e, t.run(c, q)
	}
	return e, nil
}

// trial is a request that is only asked about.
type trial struct {
	p     *Proxy
	scope string
	e     *Explanation

	held    time.Duration // by the filter that runs
	stopped bool          // a filter has answered
}

// run takes the request through the tier.
func (t *trial) run(c *chain, q *Question) error {
	config := c.config.HTTP
	conn := &httpConn{p: t.p, v: c, config: config, peer: q.From.Addr(), from: q.From, to: q.To}
	conn.in = http1.NewReader(strings.NewReader(q.Head))
	x := &conn.x
	x.c, x.trial = conn, t
	x.reset()
	err := conn.in.ReadRequest(&conn.req, int(config.MaxRequestHeadersKiB)<<10, int(config.MaxHeadersCount), true)
	if err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	if conn.req.Framing != http1.None {
		return errors.New("the request: has a body, which is not looked at here: leave content-length and transfer-encoding out")
	}
	x.draw = 1 // hits every fraction that is not smaller than two of a million
	x.serve()
	t.met(&x.match)
	switch r := x.match.route; {
	case t.stopped || r != nil && r.Forward == nil:
	case r == nil && t.e.Answer.Status == 404:
		t.e.Note = "no route takes the request"
	case r != nil && x.cluster == nil:
		t.cluster(x.named, 1) // there is none
	}
	return nil
}

// met notes the route.
func (t *trial) met(m *match) {
	if m.route == nil || t.e.Route != "" {
		return
	}
	t.e.RouteConfig, t.e.VirtualHost, t.e.Route = m.config.Name, m.host.Name, m.host.RouteName(m.route)
	if m.route.Tombstone != "" {
		t.e.Note = "the route is refused: " + m.route.Tombstone
	}
}

// filters asks the filters one by one; false: one of them has answered.
func (t *trial) filters(x *exchange) bool {
	x.filtered = true
	t.met(&x.match)
	for i := range x.c.v.before {
		f := &x.c.v.before[i]
		all, off := x.overrides(f)
		does := "is disabled here"
		goesOn := true
		if !off {
			does, goesOn = t.filter(x, f, all)
		}
		t.e.Filters = append(t.e.Filters, FilterExplanation{f.name, does})
		if !goesOn {
			t.stopped = true
			return false
		}
	}
	return true
}

func (t *trial) filter(x *exchange, f *chained, all overrides) (does string, goesOn bool) {
	s := f.filter.begin(x, all)
	if s == nil {
		return "has nothing to do here", true
	}
	x.steps = append(x.steps, s)
	before := lines(&x.c.req)
	t.held = 0
	goesOn = s.request(x)
	var did []string
	if t.held > 0 {
		did = append(did, fmt.Sprintf("waits %s", t.held))
	}
	if after := lines(&x.c.req); after != before {
		did = append(did, "changes the request")
	}
	if !goesOn {
		did = append(did, fmt.Sprintf("answers %d", t.e.Answer.Status))
	}
	if did == nil {
		return "passes the request on", true
	}
	return strings.Join(did, ", "), goesOn
}

func lines(r *http1.Request) string { return string(http1.AppendRequest(nil, r, http1.None)) }

// answered notes an answer of our own; HEAD gets none of the body.
func (t *trial) answered(method string, status int, h *http1.Header, body string) {
	if method == "HEAD" {
		body = ""
	}
	t.e.Answer = &AnswerExplanation{Status: status, Body: body, Location: h.Value("location")}
}

// forwarded notes where the request goes.
func (t *trial) forwarded(x *exchange) {
	a := x.match.route.Forward
	if a.Timeout > 0 {
		t.e.Timeout = a.Timeout.String()
	}
	r := &RequestExplanation{Method: x.c.req.Method, Path: x.c.req.Path}
	for _, f := range x.c.req.Header.Fields {
		r.Headers = append(r.Headers, f.Name+": "+f.Value)
	}
	t.e.Request = r
	for i := range a.Mirrors {
		m := &a.Mirrors[i]
		name := m.Cluster
		if name == "" {
			name = "what " + m.Header + " names"
		}
		if m.Fraction != nil {
			name += fmt.Sprintf(" (%d of %d)", m.Fraction.Numerator, m.Fraction.Denominator)
		}
		t.e.Mirrors = append(t.e.Mirrors, name)
	}
	_, numbered := number(&x.c.req, a.SplitHeader)
	if len(a.Clusters) == 1 || numbered || a.SplitByHash && len(a.HashPolicy) > 0 {
		t.cluster(x.named, 1)
		return
	}
	t.shares(a.Clusters)
}

func (t *trial) shares(all []mesh.WeightedCluster) {
	for i := range all {
		name := all[i].Name
		if name == "" {
			name = "what " + all[i].Header + " names"
		}
		t.cluster(name, all[i].Weight)
	}
}

var healthNames = [...]string{mesh.Healthy: "healthy", mesh.Unhealthy: "unhealthy", mesh.Degraded: "degraded", mesh.Draining: "draining"}

func (t *trial) cluster(name string, weight uint32) {
	e := ClusterExplanation{Name: name, Weight: weight, Hosts: []HostExplanation{}}
	if c := t.p.state.Load().clusters[mesh.ClusterID{Scope: t.scope, Name: name}]; c == nil {
		e.Note = "there is no such cluster"
	} else {
		v := c.view.Load()
		e.Note = v.config.Tombstone
		usable := map[*mesh.Host]bool{}
		for _, h := range v.set.Usable {
			usable[h] = true
		}
		for _, h := range v.set.All {
			e.Hosts = append(e.Hosts, HostExplanation{h.Address, h.Hostname, healthNames[h.Health], h.Weight, h.Priority, usable[h]})
		}
		switch d := v.config.Endpoints; {
		case e.Note != "":
		case len(v.set.Usable) == 0:
			e.Note = "none of its hosts can be chosen"
		case d != nil && d.Drop > 0:
			e.Note = fmt.Sprintf("drop_overloads turn %g%% of the requests away", 100*d.Drop)
		}
	}
	t.e.Clusters = append(t.e.Clusters, e)
}
