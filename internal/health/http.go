// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"net"
	"strconv"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// httpProber sends a request over HTTP/1.1 (Envoy: HttpActiveHealthCheckSession).
type httpProber struct {
	session  *Session
	conn     net.Conn
	in       *http1.Reader
	response http1.Response
	content  []byte // the part of the body that is looked at
}

func (p *httpProber) try(ctx context.Context) result {
	if p.conn == nil {
		conn, r := dial(ctx, p.session)
		if conn == nil {
			return r
		}
		p.conn, p.in = conn, http1.NewReader(conn)
	}
	release := within(ctx, p.conn)
	defer release()
	if err := p.exchange(); err != nil {
		p.close()
		return why(ctx, err)
	}
	if !p.session.o.Config.ReuseConnection || p.response.Close || len(p.in.Buffered()) > 0 {
		p.close()
	}
	return p.judge()
}

// idle watches the connection: that it ends is no result, but the next try needs another one.
func (p *httpProber) idle(ctx context.Context) (result, bool) {
	if p.conn != nil {
		release := within(ctx, p.conn)
		if _, err := p.conn.Read(make([]byte, 1)); why(ctx, err) != timeout {
			p.close()
		}
		release()
	}
	<-ctx.Done()
	return 0, false
}

func (p *httpProber) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// exchange sends the request and reads its whole answer.
func (p *httpProber) exchange() error {
	c := p.session.o.Config.HTTP
	m := http1.Request{Method: c.Method, Path: c.Path}
	m.Header.Add("host", p.session.o.Host)
	m.Header.Add("user-agent", "Envoy/HC")
	apply(&c.Headers, &m.Header)
	framing := http1.None
	if c.Body != nil {
		framing = http1.Length
		m.Header.Set("content-length", strconv.Itoa(len(c.Body)))
	}
	if _, err := p.conn.Write(append(http1.AppendRequest(nil, &m, framing), c.Body...)); err != nil {
		return err
	}
	for again := true; again; again = p.response.Status < 200 && p.response.Status != 101 {
		if err := p.in.ReadResponse(&p.response, c.Method, http1.MaxResponseHead, http1.MaxResponseFields); err != nil {
			return err
		}
	}
	p.content = p.content[:0]
	var body http1.Body
	for body.Start(p.in, p.response.Framing, p.response.Length); ; {
		piece, last, err := body.Next(true)
		if err != nil {
			return err
		}
		if n := uint64(len(p.content)); len(c.Receive) > 0 && (c.BufferSize == 0 || n < c.BufferSize) {
			if c.BufferSize != 0 {
				piece = piece[:min(uint64(len(piece)), c.BufferSize-n)]
			}
			p.content = append(p.content, piece...)
		}
		if last {
			return nil
		}
	}
}

// judge says what the answer means.
func (p *httpProber) judge() result {
	c, h := p.session.o.Config.HTTP, &p.response.Header
	good := contains(c.Expected, p.response.Status)
	switch {
	case !holds(p.content, c.Receive):
		p.excluded()
		return failed
	case !good:
		p.excluded()
		if contains(c.Retriable, p.response.Status) {
			return retriable
		}
		return failed
	}
	if c.ServiceName != nil {
		p.session.o.Stats.VerifyCluster.Add(1)
		if !c.ServiceName.Matches(h.Value("x-envoy-upstream-healthchecked-cluster")) {
			return failed
		}
	}
	if h.Has("x-envoy-degraded") {
		return degraded
	}
	return passed
}

func (p *httpProber) excluded() {
	if p.response.Header.Has("x-envoy-immediate-health-check-fail") {
		p.session.exclude()
	}
}

func contains(ranges []mesh.Range, status int) bool {
	for _, r := range ranges {
		if int64(status) >= r.Start && int64(status) < r.End {
			return true
		}
	}
	return false
}

// apply does what the file says of the request's fields, as for any request (package proxy); there are no command operators.
func apply(ops *mesh.HeaderOps, h *http1.Header) {
	for _, name := range ops.Remove {
		h.Del(name)
	}
	var add []mesh.HeaderAdd
	for _, a := range ops.Add {
		switch there := h.Has(a.Name); {
		case a.Value == "" && !a.KeepEmptyValue,
			a.Action == mesh.AddIfAbsent && there,
			a.Action == mesh.OverwriteIfExists && !there:
			continue
		}
		add = append(add, a)
	}
	for _, a := range add {
		if a.Action == mesh.OverwriteIfExists || a.Action == mesh.OverwriteIfExistsOrAdd {
			h.Set(a.Name, a.Value)
		}
	}
	for _, a := range add {
		if a.Action == mesh.AppendIfExistsOrAdd || a.Action == mesh.AddIfAbsent {
			h.Add(a.Name, a.Value)
		}
	}
}
