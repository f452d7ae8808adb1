// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Targets are the addresses that the client asks.
type Targets struct {
	HTTP, TCP             string // the mesh's listeners
	DirectHTTP, DirectTCP string // version one itself
}

// The load: each worker asks once in a period, HTTP on a connection of its own.
const (
	httpWorkers   = 8
	tcpWorkers    = 4
	workerPeriod  = 20 * time.Millisecond
	openPeriod    = 50 * time.Millisecond
	clientTimeout = 5 * time.Second
)

// Client is steady load. It writes one event for each request to out and returns when life ends.
// It repeats nothing: a request that fails is reported as failed.
func Client(t Targets, life io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		// Whatever ends the pipe ends the load.
		_, _ = io.Copy(io.Discard, life)
		stop()
	}()
	w := newEventWriter(out)
	g, ctx := errgroup.WithContext(ctx)
	run := func(i, n int, period time.Duration, ask func() event) {
		g.Go(func() error { return repeat(ctx, period, period*time.Duration(i)/time.Duration(n), w, ask) })
	}
	for i := range httpWorkers {
		run(i, httpWorkers, workerPeriod, (&httpAsker{address: t.HTTP}).ask)
	}
	for i := range tcpWorkers {
		run(i, tcpWorkers, workerPeriod, func() event { return askTCP(t.TCP, false) })
	}
	run(0, 1, workerPeriod, (&httpAsker{address: t.DirectHTTP, direct: true}).ask)
	run(1, 2, workerPeriod, func() event { return askTCP(t.DirectTCP, true) })
	run(0, 1, openPeriod, (&openAsker{address: t.TCP}).ask)
	return g.Wait()
}

// repeat asks once in a period, first after offset. A slow answer makes it skip beats, not catch up.
func repeat(ctx context.Context, period, offset time.Duration, w *eventWriter, ask func() event) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(offset):
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := w.write(ask()); err != nil {
			return fmt.Errorf("report a request: %w", err)
		}
	}
}

// timed fills in when, how long and what went wrong.
func timed(e event, ask func(*event) error) event {
	start := time.Now()
	err := ask(&e)
	e.Start, e.Took = start.UnixNano(), int64(time.Since(start))
	if err != nil {
		e.Error = err.Error()
	}
	return e
}

// httpAsker sends requests on one keep-alive connection. It is not net/http's client because that one repeats a
// request whose connection broke, and hides the failure.
type httpAsker struct {
	address string
	direct  bool
	conn    net.Conn
	read    *bufio.Reader
}

func (a *httpAsker) ask() event {
	e := timed(event{Service: serviceHTTP, Direct: a.direct}, a.request)
	if e.Error != "" && a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
	return e
}

func (a *httpAsker) request(e *event) error {
	if a.conn == nil {
		c, err := net.DialTimeout("tcp", a.address, clientTimeout)
		if err != nil {
			return err
		}
		a.conn, a.read = c, bufio.NewReader(c)
	}
	if err := a.conn.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(a.conn, "GET / HTTP/1.1\r\nHost: shop.demo\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(a.read, nil)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("read the answer's body: %w", err)
	}
	e.Version, e.Split = res.Header.Get(headerVersion), res.Header.Get(headerSplit)
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), e.Version+" ") {
		return fmt.Errorf("status %d, body %.60q", res.StatusCode, body)
	}
	_, peer, err := net.SplitHostPort(res.Header.Get(headerPeer))
	if err != nil {
		return fmt.Errorf("read the peer that the server saw: %w", err)
	}
	e.Own = peer == fmt.Sprint(port(a.conn.LocalAddr()))
	if res.Close {
		a.conn.Close()
		a.conn = nil
	}
	return nil
}

func askTCP(address string, direct bool) event {
	return timed(event{Service: serviceTCP, Direct: direct}, func(e *event) error {
		c, err := net.DialTimeout("tcp", address, clientTimeout)
		if err != nil {
			return err
		}
		defer c.Close()
		return askLine(c, bufio.NewReader(c), e)
	})
}

// openAsker keeps its connection for good: when it breaks, that is a failure, and the next ask opens another.
type openAsker struct {
	address string
	conn    net.Conn
	read    *bufio.Reader
}

func (a *openAsker) ask() event {
	return timed(event{Service: serviceOpen}, func(e *event) error {
		if a.conn == nil {
			c, err := net.DialTimeout("tcp", a.address, clientTimeout)
			if err != nil {
				return err
			}
			a.conn, a.read = c, bufio.NewReader(c)
		}
		err := askLine(a.conn, a.read, e)
		if err != nil {
			a.conn.Close()
			a.conn = nil
		}
		return err
	})
}

func askLine(c net.Conn, read *bufio.Reader, e *event) error {
	if err := c.SetDeadline(time.Now().Add(clientTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		return err
	}
	line, err := read.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	words := strings.Fields(line)
	if len(words) != 3 || words[2] != "ping" {
		return errors.New("wrong answer " + line)
	}
	e.Version, e.Own = words[0], words[1] == fmt.Sprint(port(c.LocalAddr()))
	return nil
}
