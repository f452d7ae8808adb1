// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Link is a veth pair between this namespace and that of a process that has one of its own. The kernel removes both
// ends some time after the process, and with it the namespace, has gone; Down does it now.
type Link struct {
	Name string // of this side; the other is eth0
	// Here and There share a prefix.
	Here, There netip.Prefix
}

// Up makes the link to the namespace of pid and gives both ends their addresses.
func (l Link) Up(pid int) error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: l.Name, TxQLen: 1000}, PeerName: "eth0",
		PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make the link %s: %w", l.Name, err)
	}
	here, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer here.Close()
	if err := bring(here, l.Name, l.Here); err != nil {
		return err
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("open the namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	there, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("open netlink in the namespace of process %d: %w", pid, err)
	}
	defer there.Close()
	return errors.Join(bring(there, "lo", netip.Prefix{}), bring(there, "eth0", l.There))
}

// Down removes the link.
func (l Link) Down() error {
	link, err := netlink.LinkByName(l.Name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil // the kernel was faster
	} else if err != nil {
		return fmt.Errorf("find the link %s: %w", l.Name, err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the link %s: %w", l.Name, err)
	}
	return nil
}

// bring gives a link its address, if any, and switches it on.
func bring(h *netlink.Handle, name string, p netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find the link %s: %w", name, err)
	}
	if p.IsValid() {
		a, err := netlink.ParseAddr(p.String())
		if err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("give %s the address %s: %w", name, p, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch the link %s on: %w", name, err)
	}
	return nil
}

// FreeSubnet finds a /24 below 10.213.0.0/16 that no address and no route of this namespace touches.
func FreeSubnet() (netip.Prefix, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: 0}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("read the routes: %w", err)
	}
	var taken []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		ones, _ := r.Dst.Mask.Size()
		if a, ok := netip.AddrFromSlice(r.Dst.IP.To4()); ok && ones > 0 {
			taken = append(taken, netip.PrefixFrom(a, ones))
		}
	}
	for i := range 256 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(i), 0}), 24)
		free := true
		for _, t := range taken {
			free = free && !p.Overlaps(t)
		}
		if free {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("all of 10.213.0.0/16 is routed here: the demo finds no addresses for its services")
}

// LinkIn is the i-th /30 of a /24: the first host address is here, the second there. i is 0 to 63.
func LinkIn(subnet netip.Prefix, i int, name string) Link {
	b := subnet.Addr().As4()
	at := func(n int) netip.Prefix {
		b[3] = byte(4*i + n)
		return netip.PrefixFrom(netip.AddrFrom4(b), 30)
	}
	return Link{Name: name, Here: at(1), There: at(2)}
}
