// SPDX-License-Identifier: Apache-2.0

package health

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// maxCame bounds what is kept of a server that goes on talking: as much as Envoy does by default (per_connection_buffer_limit_bytes).
const maxCame = 1 << 20

// tcpProber connects, sends, and waits for texts (Envoy: TcpActiveHealthCheckSession).
type tcpProber struct {
	session *Session
	conn    net.Conn
	came    []byte // and not used up by a match
}

func (p *tcpProber) try(ctx context.Context) result {
	c := p.session.o.Config.TCP
	if p.conn == nil {
		conn, r := dial(ctx, p.session)
		if conn == nil {
			return r
		}
		if len(c.Receive) == 0 {
			conn.Close()
			return passed
		}
		p.conn, p.came = conn, nil
	}
	if len(c.Send) > 0 {
		release := within(ctx, p.conn)
		_, err := p.conn.Write(c.Send)
		release()
		if err != nil {
			p.close()
			return why(ctx, err)
		}
	}
	r := p.wait(ctx)
	if r != passed || !p.session.o.Config.ReuseConnection {
		p.close()
	}
	return r
}

// idle goes on reading: the end of the connection is a result, and so are the texts if they come once more.
func (p *tcpProber) idle(ctx context.Context) (result, bool) {
	if p.conn == nil {
		<-ctx.Done()
		return 0, false
	}
	r := p.wait(ctx)
	if r == timeout || ctx.Err() != nil {
		return 0, false
	}
	if r != passed {
		p.close()
	}
	return r, true
}

// wait reads until all texts are there.
func (p *tcpProber) wait(ctx context.Context) result {
	release := within(ctx, p.conn)
	defer release()
	buf := make([]byte, 4096)
	for len(p.came) < maxCame {
		n, err := p.conn.Read(buf)
		p.came = append(p.came, buf[:n]...)
		switch {
		case n > 0 && holds(p.came, p.session.o.Config.TCP.Receive):
			p.came = nil
			return passed
		case err != nil:
			return why(ctx, err)
		}
	}
	<-ctx.Done()
	return timeout
}

func (p *tcpProber) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// holds says whether the texts are in b, in their order.
func holds(b []byte, texts [][]byte) bool {
	for _, t := range texts {
		i := bytes.Index(b, t)
		if i < 0 {
			return false
		}
		b = b[i+len(t):]
	}
	return true
}

// dial connects; without a connection the result says why.
func dial(ctx context.Context, s *Session) (net.Conn, result) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.o.Address.String())
	if err != nil {
		return nil, why(ctx, err)
	}
	return conn, passed
}

// within ends reads and writes when ctx ends, until release is called.
func within(ctx context.Context, conn net.Conn) (release func() bool) {
	at, _ := ctx.Deadline()
	_ = conn.SetDeadline(at)
	return context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			_ = conn.SetDeadline(time.Unix(1, 0)) // the session ends
		}
	})
}

// why tells the end of ctx from other failures.
func why(ctx context.Context, err error) result {
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return timeout
	}
	return network
}
