// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"sync"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// tcpLine is the TCP connections to one host, and who waits for one of them to end (Envoy: tcp/conn_pool.cc). Somebody waits
// only where a breaker says that there are enough.
type tcpLine struct {
	mu      sync.Mutex
	open    int // or opening
	waiting []chan failure
}

// enter takes room for one more connection, or a place in the line; a place gets noFailure with the room, or a failure.
func (h *host) enter(c *cluster, words *gauge) chan failure {
	h.tcp.mu.Lock()
	defer h.tcp.mu.Unlock()
	if h.room(c, words) {
		return nil
	}
	turn := make(chan failure, 1)
	h.tcp.waiting = append(h.tcp.waiting, turn)
	return turn
}

// room counts one more connection if it may be opened. Called with mu held.
func (h *host) room(c *cluster, words *gauge) bool {
	if !h.admit(words, c.view.Load().config.BreakersOf(mesh.PriorityDefault)) {
		c.stats.cxOverflow.Add(1)
		if h.tcp.open > 0 {
			return false
		}
		h.force(words)
	}
	h.tcp.open++
	return true
}

// leave says that a connection has ended that enter made room for. If it could not be opened, the whole line fails with it.
func (h *host) leave(c *cluster, words *gauge, why failure) {
	h.tcp.mu.Lock()
	defer h.tcp.mu.Unlock()
	h.tcp.open--
	for len(h.tcp.waiting) > 0 && (why != noFailure || h.room(c, words)) {
		h.tcp.waiting[0] <- why
		h.tcp.waiting = h.tcp.waiting[1:]
	}
}

// quit takes a place out of the line; if its turn had come just then, that is returned.
func (h *host) quit(turn chan failure) (failure, bool) {
	h.tcp.mu.Lock()
	defer h.tcp.mu.Unlock()
	for i, w := range h.tcp.waiting {
		if w == turn {
			h.tcp.waiting = append(h.tcp.waiting[:i:i], h.tcp.waiting[i+1:]...)
			return noFailure, false
		}
	}
	return <-turn, true
}

// wait waits until it is the connection's turn, or its client has left.
func (c *tcpConn) wait(h *host, turn chan failure) (failure, bool) {
	look := time.NewTicker(clientLook)
	defer look.Stop()
	for {
		select {
		case why := <-turn:
			return why, true
		case <-look.C:
			if c.ended.Load() || wasReset(c.client) {
				return h.quit(turn)
			}
		}
	}
}
