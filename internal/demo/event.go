// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// The services of the demo, as they stand in events.
const (
	serviceHTTP = "http" // one request on a keep-alive connection
	serviceTCP  = "tcp"  // one connection: connect, one line there and back, close
	serviceOpen = "open" // one line on the connection that stays open during the whole demo
)

// event is one request as the client saw it. The client process writes them as JSON lines, the demo counts them.
type event struct {
	Service string `json:"s"`
	// Direct: sent to version one's own address, not to the mesh's.
	Direct bool `json:"d,omitempty"`
	// Start is in Unix nanoseconds, Took in nanoseconds.
	Start int64 `json:"t"`
	Took  int64 `json:"n"`
	// Version is who answered; Split is what the route that carried an HTTP answer says of itself.
	Version string `json:"v,omitempty"`
	Split   string `json:"x,omitempty"`
	// Own: the server saw the client's own port, so nobody stood between the two.
	Own   bool   `json:"o,omitempty"`
	Error string `json:"e,omitempty"`
}

func (e event) start() time.Time { return time.Unix(0, e.Start) }
func (e event) end() time.Time   { return time.Unix(0, e.Start+e.Took) }

// eventWriter writes events of several goroutines.
type eventWriter struct {
	mu sync.Mutex
	to *json.Encoder
}

func newEventWriter(w io.Writer) *eventWriter { return &eventWriter{to: json.NewEncoder(w)} }

func (w *eventWriter) write(e event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Encode(e)
}
