// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// load is one way to ask.
type load struct {
	name        string
	connections int
	path        string
	upload      int  // bytes of the request's body; 0: GET
	close       bool // one connection per request
	bulk        bool // no HTTP: one connection, bytes in one direction
	latency     bool // also measured by the open loop
}

var loads = []load{
	{name: "keep-alive-1", connections: 1, path: "/small", latency: true},
	{name: "keep-alive-16", connections: 16, path: "/small", latency: true},
	{name: "keep-alive-256", connections: 256, path: "/small", latency: true},
	{name: "get-64k", connections: 16, path: "/64k"},
	{name: "get-1m", connections: 16, path: "/1m"},
	{name: "put-64k", connections: 16, path: "/sink", upload: 64 << 10},
	{name: "put-1m", connections: 16, path: "/sink", upload: 1 << 20},
	{name: "connection-each", connections: 16, path: "/small", close: true},
	{name: "bulk-tcp", bulk: true},
}

// Slice is what one contender did in one slice of one load.
type Slice struct {
	PerSecond float64 `json:"per_second"` // requests, or bytes of bulk TCP
	// CPU is the machine's non-idle time per request (per MiB of bulk TCP), in microseconds.
	CPU float64 `json:"cpu_us"`
	// Failed are requests that had no good answer.
	Failed int `json:"failed,omitempty"`
	// Of the open loop: latency from the planned time of sending, in microseconds.
	P50  float64 `json:"p50_us,omitempty"`
	P99  float64 `json:"p99_us,omitempty"`
	P999 float64 `json:"p999_us,omitempty"`
	// Saturated: it did not carry the rate, so its latencies only say "too much".
	Saturated bool `json:"saturated,omitempty"`
}

// closedLoop runs wrk with one thread, or the bulk sender.
func (w *world) closedLoop(ctx context.Context, l load, cgroup, address string, lasts time.Duration) (Slice, error) {
	var args []string
	if l.bulk {
		args = []string{w.self, "bulk", address, lasts.String()}
	} else {
		args = []string{"wrk", "-t1", fmt.Sprintf("-c%d", l.connections), fmt.Sprintf("-d%ds", max(1, int(lasts.Seconds())))}
		if l.close {
			args = append(args, "-H", "Connection: close")
		}
		if l.upload > 0 {
			script, err := w.uploadScript(l.upload)
			if err != nil {
				return Slice{}, err
			}
			args = append(args, "-s", script)
		}
		args = append(args, "http://"+address+l.path)
	}
	before, err := busyTime()
	if err != nil {
		return Slice{}, err
	}
	out, err := w.run(ctx, cgroup, args...)
	if err != nil {
		return Slice{}, err
	}
	after, err := busyTime()
	if err != nil {
		return Slice{}, err
	}
	busy := float64((after - before).Microseconds())
	if l.bulk {
		rate, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		return Slice{PerSecond: rate, CPU: busy / (rate * lasts.Seconds() / (1 << 20))}, err
	}
	r, err := parseWrk(string(out))
	if err != nil {
		return Slice{}, err
	}
	return Slice{PerSecond: float64(r.requests) / r.took.Seconds(), CPU: busy / float64(r.requests), Failed: r.failed}, nil
}

// uploadScript writes the Lua file that makes wrk send a body.
func (w *world) uploadScript(size int) (string, error) {
	path := filepath.Join(w.dir, fmt.Sprintf("put-%d.lua", size))
	text := fmt.Sprintf("wrk.method = \"PUT\"\nwrk.body = string.rep(\"x\", %d)\n", size)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write wrk's script: %w", err)
	}
	return path, nil
}

type wrkResult struct {
	requests, failed int
	took             time.Duration
}

// parseWrk reads "N requests in T, ... read" and the lines about errors, which wrk leaves out if there are none.
func parseWrk(text string) (r wrkResult, err error) {
	for _, line := range strings.Split(text, "\n") {
		words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == ',' || c == ':' })
		switch {
		case len(words) >= 4 && words[1] == "requests" && words[2] == "in":
			if r.requests, err = strconv.Atoi(words[0]); err != nil {
				return r, fmt.Errorf("read wrk's result: %w", err)
			}
			// wrk writes minutes as 1.00m, which is Go's notation too.
			if r.took, err = time.ParseDuration(words[3]); err != nil {
				return r, fmt.Errorf("read wrk's result: %w", err)
			}
		case strings.HasPrefix(strings.TrimSpace(line), "Socket errors:"), strings.Contains(line, "Non-2xx or 3xx responses:"):
			for _, word := range words {
				if n, err := strconv.Atoi(word); err == nil {
					r.failed += n
				}
			}
		}
	}
	if r.requests == 0 || r.took == 0 {
		return r, errors.New("wrk had no answer at all: " + text)
	}
	return r, nil
}
