// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strconv"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// buffer is envoy.filters.http.buffer (Envoy: extensions/filters/http/buffer/buffer_filter.cc).
type buffer struct{ config *mesh.Buffer }

func (f *buffer) begin(x *exchange, all overrides) step {
	c := f.config
	if o := over[*mesh.Buffer](all); o != nil {
		c = o
	}
	if c.Disabled || x.c.req.Upgrade != "" {
		return nil
	}
	return &bufferStep{limit: int(c.Max)}
}

type bufferStep struct {
	passive
	limit int
}

func (s *bufferStep) request(x *exchange) bool {
	c, r := x.c, &x.c.req
	if r.Framing == http1.None || r.Framing == http1.Length && r.Length == 0 {
		return true
	}
	whole := x.collect(s.limit, true)
	if x.cause.Load() != running {
		x.timedOut()
		return false
	}
	if !whole {
		c.v.http.rqTooLarge.Add(1)
		x.complete.Store(0) // the answer does not wait for the end
		x.blame("request_payload_too_large")
		x.reply(413, "Payload Too Large", nil)
		return false
	}
	if !r.Header.Has("content-length") {
		r.Header.Set("content-length", strconv.Itoa(len(x.early)))
		r.Framing, r.Length = http1.Length, int64(len(x.early))
	}
	return true
}

// collect reads the body, into memory if it is to be kept; false: it is larger than limit, or the exchange was cut.
func (x *exchange) collect(limit int, keep bool) bool {
	gone, read := make(chan struct{}), make(chan struct{})
	x.gone.Store(&gone)
	x.startSide(func() {
		defer close(read)
		for !x.c.body.Done() && len(x.early) <= limit {
			piece, last, ok := x.next()
			if !ok {
				return
			}
			if keep {
				x.early = append(x.early, piece...)
			}
			if last {
				return
			}
		}
	})
	defer x.stopSide()
	look := time.NewTicker(sideLook)
	defer look.Stop()
	for {
		select {
		case <-read:
			return x.c.body.Done() && len(x.early) <= limit
		case <-gone:
			return false
		case <-look.C:
			if x.overdue() {
				return false
			}
		}
	}
}
