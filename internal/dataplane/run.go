// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/vishvananda/netlink"
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
// namespaces. Connects that need the agent are refused some seconds after it ended.
func (d *Dataplane) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.beat(ctx) })
	g.Go(func() error { return d.watchAddresses(ctx) })
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

// watchAddresses keeps `locals` equal to the addresses of the agent's namespace.
func (d *Dataplane) watchAddresses(ctx context.Context) error {
	changes := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribe(changes, ctx.Done()); err != nil {
		return fmt.Errorf("watch local addresses: %w", err)
	}
	have := map[netip.Addr]bool{}
	for {
		if err := d.writeLocals(have); err != nil {
			d.setMissing("local addresses", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-changes:
			if !ok {
				return nil
			}
		}
	}
}

// writeLocals reads the addresses and writes the difference to have.
func (d *Dataplane) writeLocals(have map[netip.Addr]bool) error {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list local addresses: %w", err)
	}
	now := map[netip.Addr]bool{}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			now[ip.Unmap()] = true
		}
	}
	for ip := range now {
		if have[ip] {
			continue
		}
		k := kern.CLocalKey{Netns: d.netns, Addr: addr16(ip)}
		if err := d.objs.Locals.Update(&k, uint8(1), ebpf.UpdateAny); err != nil {
			return fmt.Errorf("write local address %s: %w", ip, err)
		}
		have[ip] = true
	}
	for ip := range have {
		if now[ip] {
			continue
		}
		k := kern.CLocalKey{Netns: d.netns, Addr: addr16(ip)}
		if err := d.objs.Locals.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove local address %s: %w", ip, err)
		}
		delete(have, ip)
	}
	return nil
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
	if d.missing == nil {
		d.missing = map[string]string{}
	}
	if err == nil {
		delete(d.missing, what)
		return
	}
	d.missing[what] = err.Error()
}
