// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/miekg/dns"
)

// world is what surrounds the data plane in one run of one scenario: ports, upstreams, names.
type world struct {
	dir string
	s   *scenario
	j   journal
	servers

	mu    sync.Mutex
	ports map[string]int // "web", "upstream blue", ...
	fds   []int
	zone  atomic.Pointer[[]dns.RR]
	dns   *dns.Server
}

func newWorld(s *scenario, dir string) *world {
	return &world{s: s, dir: dir, ports: map[string]int{}}
}

func (w *world) end() {
	w.servers.close()
	if w.dns != nil {
		w.dns.Shutdown()
	}
	for _, fd := range w.fds {
		syscall.Close(fd)
	}
}

// portsFrom hands out ports below the ephemeral range, so that no outgoing connection takes one before
// the data plane has bound it. Several test processes start at different places.
var portsFrom = func() func() int {
	var next atomic.Int64
	next.Store(int64(os.Getpid()) * 251)
	return func() int { return 12000 + int(next.Add(1)%20000) }
}()

// newPort finds a port that is free on every address.
func newPort() (int, error) {
	p, l, err := listenSomewhere()
	if err != nil {
		return 0, err
	}
	return p, l.Close()
}

// once returns the port of that name, made by start at first use.
func (w *world) once(name string, start func() (int, error)) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.ports[name]; ok {
		return p, nil
	}
	p, err := start()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	w.ports[name] = p
	return p, nil
}

func (w *world) port(name string) (int, error) { return w.once(name, newPort) }

// listen opens a server port outside the ephemeral range.
func (w *world) listen(handle func(*net.TCPConn, int)) (int, error) {
	p, l, err := listenSomewhere()
	if err != nil {
		return 0, err
	}
	w.serve(l, handle)
	return p, nil
}

func (w *world) upstreamPort(name string) (int, error) {
	return w.once("upstream "+name, func() (int, error) {
		return w.listen((&httpUpstream{name: name, j: &w.j}).handle)
	})
}

func (w *world) proxiedPort(name string) (int, error) {
	return w.once("proxied "+name, func() (int, error) {
		return w.listen((&httpUpstream{name: name, j: &w.j, proxied: true}).handle)
	})
}

func (w *world) proxiedTCPPort(name string) (int, error) {
	return w.once("proxied-tcp "+name, func() (int, error) {
		return w.listen((&tcpUpstream{name: name, greet: true, proxied: true}).handle)
	})
}

func (w *world) tcpPort(name string) (int, error) {
	return w.once("tcp "+name, func() (int, error) { return w.listen((&tcpUpstream{name: name, j: &w.j}).handle) })
}

func (w *world) greeterPort(name string) (int, error) {
	return w.once("greeter "+name, func() (int, error) { return w.listen((&tcpUpstream{name: name, greet: true}).handle) })
}

// refusedPort is bound, so that nobody else gets it, and not listened on.
func (w *world) refusedPort(name string) (int, error) {
	return w.once("refused "+name, func() (int, error) { return w.bound(func(int) error { return nil }) })
}

// silentPort answers no SYN: its accept queue is full.
func (w *world) silentPort(name string) (int, error) {
	return w.once("silent "+name, func() (int, error) {
		p, err := w.bound(func(fd int) error { return syscall.Listen(fd, 0) })
		if err != nil {
			return 0, err
		}
		for range 2 { // a backlog of 0 holds one; the second finds it full or fills it
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				return 0, err
			}
			w.fds = append(w.fds, fd)
			syscall.Connect(fd, &syscall.SockaddrInet4{Port: p, Addr: [4]byte{127, 0, 0, 1}})
		}
		return p, nil
	})
}

func (w *world) bound(then func(fd int) error) (int, error) {
	for range 100 {
		p, err := newPort()
		if err != nil {
			return 0, err
		}
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: p, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			syscall.Close(fd)
			continue
		}
		w.fds = append(w.fds, fd)
		return p, then(fd)
	}
	return 0, fmt.Errorf("no port could be bound")
}

func (w *world) dnsPort() (int, error) {
	return w.once("dns", func() (int, error) {
		if err := w.setZone(dnsPart); err != nil {
			return 0, err
		}
		p, err := newPort()
		if err != nil {
			return 0, err
		}
		pc, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(p))
		if err != nil {
			return 0, err
		}
		started := make(chan struct{})
		w.dns = &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(w.answerName),
			NotifyStartedFunc: func() { close(started) }}
		go w.dns.ActivateAndServe()
		<-started
		return p, nil
	})
}

// setZone takes the records from a part of the scenario.
func (w *world) setZone(part string) error {
	var all []dns.RR
	zp := dns.NewZoneParser(strings.NewReader(w.s.part(part)), ".", part)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		all = append(all, rr)
	}
	if err := zp.Err(); err != nil {
		return err
	}
	w.zone.Store(&all)
	return nil
}

func (w *world) answerName(rw dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	known := false
	for _, rr := range *w.zone.Load() {
		if !strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
			continue
		}
		known = true
		if txt, ok := rr.(*dns.TXT); ok && txt.Txt[0] == "servfail" {
			m.Rcode = dns.RcodeServerFailure
		}
		if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, dns.Copy(rr))
		}
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	rw.WriteMsg(m)
}

// hideHost replaces the machine's own addresses, one of which Envoy takes for a client on loopback.
func hideHost(text string) string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			text = strings.ReplaceAll(text, ip.IP.String(), "(this host)")
		}
	}
	return text
}

// hidePorts replaces ports of this run by their names, so that two runs can be compared.
func (w *world) hidePorts(text string) string {
	text = hideHost(text)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, p := range w.ports {
		text = strings.ReplaceAll(text, ":"+strconv.Itoa(p), ":("+name+")")
		text = strings.ReplaceAll(text, "_"+strconv.Itoa(p), "_("+name+")")
		text = strings.ReplaceAll(text, "x-forwarded-port: "+strconv.Itoa(p), "x-forwarded-port: ("+name+")")
	}
	return text
}
