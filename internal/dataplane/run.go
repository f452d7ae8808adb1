// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sync/errgroup"

	"github.com/leno-mesh/leno/internal/kern"
)

const (
	heartbeat = time.Second
	// agentDeadNs is how old the heartbeat may be before connects that need the agent are refused.
	agentDeadNs = 5_000_000_000
	// lookEvery is how often namespaces are looked for without being asked.
	lookEvery = 5 * time.Second
	// tidyEvery is how often rows and counters of ids that have gone are removed.
	tidyEvery = 2 * time.Second
)

// Run keeps the kernel half informed until ctx ends: the heartbeat, the local addresses, the agent's listeners in other
// namespaces. Connects that need the agent are refused after it ended.
func (d *Dataplane) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.beat(ctx) })
	g.Go(func() error { return d.watchAddresses(ctx) })
	g.Go(func() error { return d.watchCgroups(ctx) })
	g.Go(func() error { return d.watchEvents(ctx) })
	g.Go(func() error { return d.park(ctx) })
	return g.Wait()
}

func (d *Dataplane) beat(ctx context.Context) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			// Connects that need the agent are refused from now on, and not only when the heartbeat has grown old.
			if err := d.writeSettings(func(s *kern.CSettings) { s.HeartbeatNs = 0 }); err != nil {
				return fmt.Errorf("end of the heartbeat: %w", err)
			}
			return nil
		case <-tidy.C:
			d.tidy()
		case <-beat.C:
			if err := d.writeSettings(func(s *kern.CSettings) { s.HeartbeatNs = monotonicNs() }); err != nil {
				return fmt.Errorf("heartbeat: %w", err)
			}
		}
	}
}

// watchEvents looks for namespaces at once when a connect found no agent listener in its own.
func (d *Dataplane) watchEvents(ctx context.Context) error {
	r, err := ringbuf.NewReader(d.objs.Events)
	if err != nil {
		return fmt.Errorf("open the ring of events: %w", err)
	}
	defer context.AfterFunc(ctx, func() { r.Close() })()
	var rec ringbuf.Record
	for {
		if err := r.ReadInto(&rec); errors.Is(err, ringbuf.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the ring of events: %w", err)
		}
		var e kern.CParkWanted
		if _, err := binary.Decode(rec.RawSample, binary.NativeEndian, &e); err == nil {
			d.mu.Lock()
			d.askers[int(e.Tgid)] = true
			d.mu.Unlock()
		}
		select {
		case d.rescan <- struct{}{}:
		default: // a look is due already
		}
	}
}

// setMissing remembers a sentence for Status; nil takes it back.
func (d *Dataplane) setMissing(what string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noteMissing(what, err)
}

// noteMissing is setMissing for who holds the lock.
func (d *Dataplane) noteMissing(what string, err error) {
	if d.missing == nil {
		d.missing = map[string]string{}
	}
	if err == nil {
		delete(d.missing, what)
		return
	}
	d.missing[what] = err.Error()
}
