// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOpenLoopAsksAllThatWasPlanned(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/small" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	r, err := runOpenLoop(strings.TrimPrefix(s.URL, "http://"), "/small", 4, 200, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	// A machine may be too busy for the last of them, but then they are neither answered nor failed.
	if r.Planned != 200 || r.Failed != 0 || r.Answered > 200 || int64(r.Answered) > asked.Load() {
		t.Errorf("%+v, %d asked, want 200 planned and none failed", r, asked.Load())
	}
	if r.Answered == 200 && r.Seconds < 0.9 {
		t.Errorf("200 requests at 200 per second took %.2f s: they were not sent when planned", r.Seconds)
	}
	if r.P50 <= 0 || r.P99 < r.P50 || r.P999 < r.P99 {
		t.Errorf("percentiles out of order: %+v", r)
	}
}

func TestOpenLoopChargesForWaiting(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		time.Sleep(20 * time.Millisecond) // the server's slowness is what is tested
	}))
	defer s.Close()
	// One connection carries 50 a second; 500 are asked of it. A closed loop would report 20 ms.
	r, err := runOpenLoop(strings.TrimPrefix(s.URL, "http://"), "/", 1, 500, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r.Answered > 60 {
		t.Errorf("%d answered by a server that can 55 in that time", r.Answered)
	}
	if r.P50 < 200_000 {
		t.Errorf("median latency %.0f us: those who waited for the connection were not charged", r.P50)
	}
}

func TestOpenLoopCountsBrokenConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				// One read, no answer.
				_, _ = c.Read(make([]byte, 100))
				c.Close()
			}()
		}
	}()
	r, err := runOpenLoop(l.Addr().String(), "/", 3, 1000, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != 3 || r.Answered != 0 {
		t.Errorf("%+v, want one failure on each of 3 connections", r)
	}
}
