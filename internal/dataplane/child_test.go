// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childArg makes the test binary a client: it does with sockets what its parent says.
const childArg = "@client"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		children := map[string]func([]string) error{childArg: serveClient, jailArg: jail, agentArg: agent}
		if run := children[os.Args[1]]; run != nil {
			if err := run(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// order is one thing that the client shall do; answer is what came of it.
type order struct {
	Op    string // socket, bind, device, connect, finish, send, drain, names, close, set, get
	FD    int
	V6    bool
	Flags int // of socket
	Type  int // of socket; 0: SOCK_STREAM
	Proto int // of socket; of set and get: the option of TCP
	Addr  netip.AddrPort
	Name  string
	Value int
}

type answer struct {
	Errno unix.Errno
	FD    int
	Value int
	Data  string
	Peer  netip.AddrPort
	Local netip.AddrPort
}

func serveClient([]string) error {
	return serveOrders(json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout))
}

func serveOrders(in *json.Decoder, out *json.Encoder) error {
	for {
		var o order
		if in.Decode(&o) != nil {
			return nil // the parent has gone
		}
		if o.Op == "elsewhere" { // the rest is done by a thread in a new network namespace
			return onThread(func() error {
				if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
					return err
				}
				if err := errors.Join(loopbackUp(), out.Encode(answer{})); err != nil {
					return err
				}
				return serveOrders(in, out)
			})
		}
		a, err := o.do()
		if err != nil && !errors.As(err, &a.Errno) {
			return fmt.Errorf("client: %w", err)
		}
		if out.Encode(a) != nil {
			return nil // likewise
		}
	}
}

func (o order) do() (a answer, err error) {
	switch o.Op {
	case "socket":
		family := unix.AF_INET
		if o.V6 {
			family = unix.AF_INET6
		}
		if o.Type == 0 {
			o.Type = unix.SOCK_STREAM
		}
		a.FD, err = unix.Socket(family, o.Type|o.Flags, o.Proto)
	case "bind":
		err = unix.Bind(o.FD, sockaddr(o.V6, o.Addr))
	case "device":
		err = unix.SetsockoptString(o.FD, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, o.Name)
	case "connect":
		err = unix.Connect(o.FD, sockaddr(o.V6, o.Addr))
	case "finish": // a connect that is in progress
		if _, err = unix.Poll([]unix.PollFd{{Fd: int32(o.FD), Events: unix.POLLOUT}}, 20_000); err != nil {
			return a, err
		}
		var e int
		e, err = unix.GetsockoptInt(o.FD, unix.SOL_SOCKET, unix.SO_ERROR)
		a.Errno = unix.Errno(e)
	case "send":
		a.Value, err = writeAll(o.FD, make([]byte, o.Value))
	case "drain": // half-close, then read to the end
		if err = unix.Shutdown(o.FD, unix.SHUT_WR); err == nil {
			a.Data, err = readAll(o.FD)
		}
	case "names":
		a.Peer, a.Local, err = names(o.FD)
	case "close":
		err = unix.Close(o.FD)
	case "set":
		err = unix.SetsockoptInt(o.FD, unix.IPPROTO_TCP, o.Proto, o.Value)
	case "get":
		a.Value, err = unix.GetsockoptInt(o.FD, unix.IPPROTO_TCP, o.Proto)
	default:
		err = fmt.Errorf("unknown order %q", o.Op)
	}
	return a, err
}

func sockaddr(v6 bool, a netip.AddrPort) unix.Sockaddr {
	if v6 {
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

func writeAll(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Write(fd, b[n:])
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func readAll(fd int) (string, error) {
	var all bytes.Buffer
	b := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, b)
		if n <= 0 || err != nil {
			return all.String(), err
		}
		all.Write(b[:n])
	}
}

func names(fd int) (peer, local netip.AddrPort, err error) {
	p, err := unix.Getpeername(fd)
	if err != nil {
		return peer, local, err
	}
	l, err := unix.Getsockname(fd)
	return addrPort(p), addrPort(l), err
}

// addrPort keeps v4-mapped addresses as they are.
func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}

// client is a process in a managed cgroup, seen from the test.
type client struct {
	t    *testing.T
	in   *json.Encoder
	out  *json.Decoder
	pid  int
	stop func() // ends the process and waits for it; may be called again
}

// startClient starts one in a cgroup and, unless ns is nil, in that network namespace.
func startClient(t *testing.T, cgroup string, ns *os.File) *client {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe", childArg)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: unix.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	ended := make(chan struct{})
	run := func() error {
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it ends when its input does; what it answered is what counts
		}
		return nil
	}
	go func() {
		defer close(ended)
		// The child is born in this thread's namespace, and dies with this thread.
		if ns == nil {
			_ = onThread(run) // returns what it sent
		} else if err := inNamespace(ns, run); err != nil {
			started <- err
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	stop := func() { stdin.Close(); <-ended }
	t.Cleanup(stop)
	return &client{t, json.NewEncoder(stdin), json.NewDecoder(io.Reader(stdout)), cmd.Process.Pid, stop}
}

func (c *client) do(o order) answer {
	c.t.Helper()
	if err := c.in.Encode(o); err != nil {
		c.t.Fatal(err)
	}
	var a answer
	if err := c.out.Decode(&a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

// must is do where nothing may fail.
func (c *client) must(o order) answer {
	c.t.Helper()
	a := c.do(o)
	if a.Errno != 0 {
		c.t.Fatalf("%s: %v", o.Op, a.Errno)
	}
	return a
}

func (c *client) socket(v6 bool) int { c.t.Helper(); return c.must(order{Op: "socket", V6: v6}).FD }

func (c *client) close(fd int) { c.t.Helper(); c.must(order{Op: "close", FD: fd}) }

func v6Dial(addr string) bool { return strings.HasPrefix(addr, "[") }

// dial connects a new socket.
func (c *client) dial(addr string) (fd int, errno unix.Errno) {
	c.t.Helper()
	fd = c.socket(v6Dial(addr))
	return fd, c.connect(fd, addr)
}

func (c *client) connect(fd int, addr string) unix.Errno {
	c.t.Helper()
	return c.do(order{Op: "connect", FD: fd, V6: v6Dial(addr), Addr: netip.MustParseAddrPort(addr)}).Errno
}

// who dials, asks the server for its name, and closes.
func (c *client) who(addr string) string {
	c.t.Helper()
	fd, errno := c.dial(addr)
	defer c.close(fd)
	if errno != 0 {
		return errno.Error()
	}
	a := c.do(order{Op: "drain", FD: fd})
	if a.Errno != 0 {
		return a.Errno.Error()
	}
	return a.Data
}

// slow stretches deadlines on emulated machines.
func slow() time.Duration {
	var n int
	if _, err := fmt.Sscan(os.Getenv("LENO_TEST_SLOW"), &n); err != nil || n < 1 {
		return 1
	}
	return time.Duration(n)
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second * slow())
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks; nothing depends on its length
	}
}
