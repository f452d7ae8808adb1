// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"net"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace with loopback up, visible as /run/netns/Name.
type Namespace struct {
	Name string
	// V4 and V6 are the addresses by which Home reaches it, and HomeV4 and HomeV6 those by which it reaches
	// Home; empty for Home itself.
	V4, V6, HomeV4, HomeV6 string

	rig    *Rig
	handle netns.NsHandle
}

// NewNamespace makes a namespace. All but the first are linked to Home by a veth pair.
func (r *Rig) NewNamespace() *Namespace {
	r.T.Helper()
	r.namespaces++
	n := &Namespace{Name: fmt.Sprintf("%s-%d", r.Name, r.namespaces), rig: r}
	r.onThread(func() error {
		var err error
		if n.handle, err = netns.NewNamed(n.Name); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		return up("lo")
	})
	r.T.Cleanup(func() {
		n.handle.Close()
		if err := netns.DeleteNamed(n.Name); err != nil {
			r.T.Errorf("delete namespace %s: %v", n.Name, err)
		}
	})
	if r.Home != nil {
		n.link()
	}
	return n
}

// link joins n and Home by a veth pair with an IPv4 and an IPv6 network.
func (n *Namespace) link() {
	r := n.rig
	i := r.namespaces
	n.HomeV4, n.V4 = fmt.Sprintf("10.77.%d.1", i), fmt.Sprintf("10.77.%d.2", i)
	n.HomeV6, n.V6 = fmt.Sprintf("fd77:%x::1", i), fmt.Sprintf("fd77:%x::2", i)
	home, peer := fmt.Sprintf("veth%d", i), "eth0"
	r.Home.Do(func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: home}, PeerName: peer,
			PeerNamespace: netlink.NsFd(n.handle)}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("add a veth pair: %w", err)
		}
		return address(home, n.HomeV4+"/24", n.HomeV6+"/64")
	})
	n.Do(func() error {
		if err := address(peer, n.V4+"/24", n.V6+"/64"); err != nil {
			return err
		}
		return defaultRoute(peer, n.HomeV4, n.HomeV6)
	})
}

// Do runs f on a thread inside the namespace; sockets that f opens belong to it. An error ends the test.
func (n *Namespace) Do(f func() error) {
	n.rig.T.Helper()
	n.rig.onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.Name, err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own, which ends with it: its namespace is nobody else's.
func (r *Rig) onThread(f func() error) {
	r.T.Helper()
	if err := <-throwaway(f); err != nil {
		r.T.Fatal(err)
	}
}

func throwaway(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread never ends and is what /proc/self shows: keep it busy, use another.
			done <- <-throwaway(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return done
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func address(name string, addresses ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, text := range addresses {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		a.Flags = ifaNoDAD // usable at once
		if a.IP.To4() != nil {
			a.Flags = 0
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add %s to %s: %w", text, name, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// ifaNoDAD is IFA_F_NODAD (linux/if_addr.h): no duplicate address detection.
const ifaNoDAD = 0x02

func defaultRoute(name string, gateways ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, gw := range gateways {
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(gw)}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("route through %s: %w", gw, err)
		}
	}
	return nil
}
