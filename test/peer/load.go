// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leno-mesh/leno/test/rig"
)

// Report is what a load says, one JSON line for each report; the last one is complete.
type Report struct {
	OK     uint64 // connections whose every byte came back right
	Failed uint64 // connections that did not open, broke or timed out
	Wrong  uint64 // connections on which a wrong byte came
	// Errors counts Failed by kind.
	Errors map[string]uint64
	// First is the text of the first failure.
	First string
}

// echo ADDRESS: sends back what it gets, until the client half-closes.
func echo(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			// A client that breaks off is the client's affair; it tells.
			_, _ = io.Copy(c, c)
		}()
	}
}

type loadState struct {
	target            string
	ok, failed, wrong atomic.Uint64
	mu                sync.Mutex
	errors            map[string]uint64
	first             string
}

// load TARGET CONNECTIONS: keeps that many connections busy at a time, each with a few checked exchanges, until SIGTERM.
func load(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	s := &loadState{target: args[0], errors: map[string]uint64{}}
	return s.run(n, func(stopping *atomic.Bool) {
		for !stopping.Load() {
			err := s.connection()
			if s.record(err); err != nil {
				time.Sleep(time.Millisecond) // leave the processor to whoever repairs it
			}
		}
	})
}

// steady TARGET: exchanges checked messages on one connection until SIGTERM, or until it breaks. OK counts messages.
func steady(args []string) error {
	s := &loadState{target: args[0], errors: map[string]uint64{}}
	conn, err := net.Dial("tcp", s.target)
	if err != nil {
		return err
	}
	defer conn.Close()
	return s.run(1, func(stopping *atomic.Bool) {
		for !stopping.Load() {
			err := conn.SetDeadline(time.Now().Add(rig.Slow(20 * time.Second)))
			if err == nil {
				err = message(conn, 200)
			}
			if s.record(err); err != nil {
				return
			}
		}
	})
}

// httpLoad URL CLIENTS: keeps that many HTTP clients busy until SIGTERM, each with requests on a kept connection whose
// bodies must come back. OK counts requests; an answer with another status than 200 is a failure of the kind "status N".
func httpLoad(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	s := &loadState{target: args[0], errors: map[string]uint64{}}
	return s.run(n, func(stopping *atomic.Bool) {
		client := &http.Client{Timeout: rig.Slow(20 * time.Second), Transport: &http.Transport{}}
		for !stopping.Load() {
			err := s.request(client)
			if s.record(err); err != nil {
				time.Sleep(time.Millisecond)
			}
		}
	})
}

// errStatus is an answer that is not 200.
type errStatus int

func (e errStatus) Error() string { return fmt.Sprintf("status %d", int(e)) }

func (s *loadState) request(client *http.Client) error {
	sent := randomBytes(rand.IntN(20_000))
	resp, err := client.Post(s.target, "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return errStatus(resp.StatusCode)
	case !bytes.Equal(got, sent):
		return errWrong
	}
	return nil
}

// run runs n workers until SIGTERM and prints a Report every 20 ms and at the end.
func (s *loadState) run(n int, worker func(stopping *atomic.Bool)) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	var stopping atomic.Bool
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() { worker(&stopping) })
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.print()
			continue
		case <-stop:
		}
		stopping.Store(true)
		workers.Wait()
		s.print()
		return nil
	}
}

func (s *loadState) print() {
	s.mu.Lock()
	defer s.mu.Unlock()
	line, err := json.Marshal(Report{s.ok.Load(), s.failed.Load(), s.wrong.Load(), s.errors, s.first})
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	fmt.Printf("%s\n", line)
}

var errWrong = errors.New("wrong bytes came back")

func (s *loadState) record(err error) {
	switch {
	case err == nil:
		s.ok.Add(1)
		return
	case errors.Is(err, errWrong):
		s.wrong.Add(1)
	default:
		s.failed.Add(1)
	}
	kind := "other"
	var errno syscall.Errno
	var timeout net.Error
	var status errStatus
	switch {
	case errors.As(err, &status):
		kind = status.Error()
	case errors.As(err, &errno):
		kind = errno.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		kind = "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		kind = "early end"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors[kind]++
	if s.first == "" {
		s.first = err.Error()
	}
}

// connection opens one connection, exchanges random messages, half-closes and expects the end.
func (s *loadState) connection() error {
	d := net.Dialer{Timeout: rig.Slow(10 * time.Second)}
	conn, err := d.Dial("tcp", s.target)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := conn.(*net.TCPConn)
	if err := c.SetDeadline(time.Now().Add(rig.Slow(20 * time.Second))); err != nil {
		return err
	}
	for range 1 + rand.IntN(4) {
		if err := message(c, 1+rand.IntN(20_000)); err != nil {
			return err
		}
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 {
		return errWrong
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// message sends n random bytes and expects them back.
func message(c net.Conn, n int) error {
	sent := randomBytes(n)
	if _, err := c.Write(sent); err != nil {
		return err
	}
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return errWrong
	}
	return nil
}
