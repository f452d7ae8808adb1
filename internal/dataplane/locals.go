// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
)

// watchAddresses keeps `locals` equal to the addresses of the agent's namespace.
func (d *Dataplane) watchAddresses(ctx context.Context) error {
	for ctx.Err() == nil {
		d.setMissing("local addresses", d.followAddresses(ctx))
		select {
		case <-ctx.Done():
		case <-time.After(heartbeat): // the kernel dropped messages, or the map is full: look again
		}
	}
	return nil
}

// followAddresses writes the addresses at each change until the kernel says that it dropped messages.
func (d *Dataplane) followAddresses(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan netlink.AddrUpdate, 64)
	failed := make(chan error, 1)
	err := netlink.AddrSubscribeWithOptions(changes, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: func(err error) {
		select {
		case failed <- err:
		default: // one is enough
		}
	}})
	if err != nil {
		return fmt.Errorf("watch local addresses: %w", err)
	}
	for {
		if err := d.writeLocals(); err != nil {
			return err
		}
		d.setMissing("local addresses", nil)
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("watch local addresses: %w", err)
		case _, ok := <-changes:
			if !ok {
				return errors.New("watch local addresses: the subscription ended")
			}
		}
	}
}

// writeLocals makes the map equal to the addresses that the namespace has now: those of an earlier agent may have moved.
func (d *Dataplane) writeLocals() error {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list local addresses: %w", err)
	}
	now := map[kern.CLocalKey]bool{}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			now[kern.CLocalKey{Netns: d.netns, Addr: addr16(ip.Unmap())}] = true
		}
	}
	var k kern.CLocalKey
	var v uint8
	have := map[kern.CLocalKey]bool{}
	it := d.objs.Locals.Iterate()
	for it.Next(&k, &v) {
		have[k] = true
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read the known local addresses: %w", err)
	}
	for k := range have {
		if now[k] {
			continue
		}
		if err := d.objs.Locals.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove local address %s: %w", fromAddr16(k.Addr), err)
		}
	}
	for k := range now {
		if have[k] {
			continue
		}
		if err := d.objs.Locals.Update(&k, uint8(1), ebpf.UpdateAny); errors.Is(err, unix.E2BIG) {
			return fmt.Errorf("%d local addresses do not fit: the limit is %d; wildcard listeners serve the others through the agent",
				len(now), d.objs.Locals.MaxEntries())
		} else if err != nil {
			return fmt.Errorf("write local address %s: %w", fromAddr16(k.Addr), err)
		}
	}
	return nil
}
