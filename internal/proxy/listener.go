// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// version is one listener as configured; a changed configuration makes a new one, and the connections of the old one
// are drained (Envoy: arch_overview/operations/draining).
type version struct {
	scope     string
	listener  *mesh.Listener
	stats     *listenerStats
	chains    chainTree
	inspected *inspectorStats
	proxied   map[int]*proxyProtocolStats // by the filter's place
	rest      *chain                      // the default; nil: there is none

	drainFrom atomic.Int64 // Unix nanoseconds; 0: not draining

	mu    sync.Mutex
	conns map[connection]bool
}

// connection is a downstream connection of either kind.
type connection interface {
	// retire makes the connection end when it can: between requests, for HTTP.
	retire()
	// cut ends it at once.
	cut()
}

// version returns the running version of l, which is the old one if nothing about it changed.
func (p *Proxy) version(old, next *state, scope string, l *mesh.Listener) *version {
	v := old.listeners[listenerKey{scope, l.Name}]
	if v == nil || v.listener != l {
		v = &version{scope: scope, listener: l, conns: map[connection]bool{}, stats: p.stats.listener(l), inspected: &p.stats.inspected}
		v.proxied = p.stats.see(l)
		for _, c := range l.Chains {
			v.chains.add(p.chain(old, next, v, c))
		}
		if l.Default != nil {
			v.rest = p.chain(old, next, v, l.Default)
		}
	}
	for _, c := range l.All() {
		if c.HTTP != nil && c.HTTP.RouteConfig != nil {
			next.table(old, c.HTTP.RouteConfig) // is of this state, too
		}
	}
	return v
}

func (v *version) add(c connection) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.conns[c] = true
}

func (v *version) remove(c connection) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
}

func (v *version) each(f func(connection)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		f(c)
	}
}

func (v *version) idle() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.conns) == 0
}

// closes says whether the answer that is written now is the last on its connection: the nearer the end of the drain,
// the more likely (Envoy: drain_manager_impl.cc, drainClose).
func (v *version) closes(drainTime time.Duration) bool {
	from := v.drainFrom.Load()
	if from == 0 {
		return false
	}
	elapsed := time.Since(time.Unix(0, from))
	return elapsed >= drainTime || rand.Int64N(int64(drainTime)) < int64(elapsed)
}

// socketKey is an address that the agent listens on.
type socketKey struct {
	scope   string
	address netip.AddrPort
	compat  bool
}

// socket is a bound address; whichever listener has the address now gets its connections.
type socket struct {
	l       net.Listener
	version atomic.Pointer[version]
}

// bind opens and closes sockets so that every bound listener of s has one.
func (p *Proxy) bind(s *state) []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended.Load() {
		return nil
	}
	want := map[socketKey]*version{}
	for _, v := range s.listeners {
		if l := v.listener; l.BindToPort {
			for _, a := range l.Addresses() {
				want[socketKey{v.scope, a.Address, a.V4Compat}] = v
			}
		}
	}
	for k, so := range p.sockets {
		if want[k] == nil {
			so.l.Close()
			delete(p.sockets, k)
		}
	}
	var errs []error
	for k, v := range want {
		if so := p.sockets[k]; so != nil {
			so.version.Store(v)
			continue
		}
		l, err := listen(k)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", v.listener.Name, err))
			continue
		}
		so := &socket{l: l}
		so.version.Store(v)
		p.sockets[k] = so
		p.running.Go(func() { p.accept(l, so.version.Load) })
	}
	return errs
}

func listen(k socketKey) (net.Listener, error) {
	network := "tcp6"
	switch {
	case k.address.Addr().Is4():
		network = "tcp4"
	case k.compat:
		network = "tcp"
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // a program that is asked for by TCP gets TCP
	lc.KeepAlive = -1
	return lc.Listen(context.Background(), network, k.address.String())
}

// Serve accepts connections of a listener from a socket that somebody else opened, until the socket is closed.
func (p *Proxy) Serve(scope, listener string, l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended.Load() {
		l.Close()
		return
	}
	p.parked[l] = true
	p.running.Go(func() {
		p.accept(l, func() *version { return p.state.Load().listeners[listenerKey{scope, listener}] })
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.parked, l)
	})
}

func (p *Proxy) accept(l net.Listener, current func() *version) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			p.o.Log.Warn("accept", "address", l.Addr(), "err", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors or memory: let connections end
			continue
		}
		v := current()
		if v == nil {
			c.Close() // its listener has just gone
			continue
		}
		p.running.Go(func() { p.connection(v, c.(*net.TCPConn)) })
	}
}

// connection serves one connection to its end.
func (p *Proxy) connection(v *version, conn *net.TCPConn) {
	defer conn.Close()
	a := arrival{local: addressOf(conn.LocalAddr()), remote: addressOf(conn.RemoteAddr()), transport: rawBuffer}
	a.direct = a.remote
	if l := v.listener; !l.BindToPort { // the socket is one that a connect was led to
		if a.local = netip.AddrPortFrom(a.local.Addr(), l.Address.Port()); !l.Address.Addr().IsUnspecified() {
			a.local = l.Address
		}
	}
	if !v.inspect(conn, &a) {
		return
	}
	c := v.chain(&a)
	if c == nil {
		v.stats.noChain.Add(1)
		return
	}
	v.stats.total.Add(1)
	v.stats.active.Add(1)
	begun := time.Now()
	defer func() {
		conn.Close()
		v.stats.active.Add(-1)
		v.stats.length.add(time.Since(begun))
	}()
	ok, leave := c.admit(conn)
	defer leave()
	switch {
	case !ok:
		c.turnedAway()
	case c.config.Direct != nil:
		c.answerDirectly(conn)
	case c.config.Echo:
		c.echo(conn)
	case c.config.TCP != nil:
		p.serveTCP(c, conn, &a)
	case c.config.HTTP != nil:
		p.serveHTTP(c, conn, &a)
	}
}

// chain is the one that takes a connection; nil: none does.
func (v *version) chain(a *arrival) *chain {
	if c := v.chains.find(a); c != nil {
		return c
	}
	return v.rest
}

// retire lets the connections of versions drain that next does not have.
func (p *Proxy) retire(old, next *state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, v := range old.listeners {
		if next.listeners[k] != v {
			v.drainFrom.CompareAndSwap(0, time.Now().UnixNano())
			p.retired[v] = true
		}
	}
}

// expire cuts the connections whose drain is over.
func (p *Proxy) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for v := range p.retired {
		if now.Sub(time.Unix(0, v.drainFrom.Load())) > p.o.DrainTime {
			v.each(connection.cut)
		}
		if v.idle() {
			delete(p.retired, v)
		}
	}
}

// versions are all that may have connections.
func (p *Proxy) versions() []*version {
	var all []*version
	for _, v := range p.state.Load().listeners {
		all = append(all, v)
	}
	for v := range p.retired {
		all = append(all, v)
	}
	return all
}

// drain stops accepting and asks every connection to end.
func (p *Proxy) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended.Store(true)
	for _, so := range p.sockets {
		so.l.Close()
	}
	for l := range p.parked {
		l.Close()
	}
	for _, v := range p.versions() {
		v.each(connection.retire)
	}
}

func (p *Proxy) cutAll() {
	p.mirrors.cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.versions() {
		v.each(connection.cut)
	}
}
