// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openLoop sends requests at planned times whether or not answers have come, as independent users do. One thread,
// one epoll: Go's own timers and poller wake up a millisecond late, which is more than what is measured here.
// Latency counts from the planned time, so a server that falls behind is charged for all who wait.
type openLoop struct {
	request []byte
	epoll   int
	conns   []*openConn
	idle    []*openConn
	broken  int     // connections
	took    []int64 // nanoseconds
	failed  int
}

type openConn struct {
	fd      int
	planned time.Time
	head    []byte // answer so far, until its head is complete
	body    int    // bytes of the body that are to come; -1: still in the head
}

// OpenResult is what the child that runs the loop prints.
type OpenResult struct {
	Planned, Answered, Failed int
	Seconds                   float64
	P50, P99, P999            float64 // microseconds
}

// printOpenLoop is the child: it prints an OpenResult as JSON.
func printOpenLoop(address, path string, connections int, rate float64, lasts time.Duration) error {
	r, err := runOpenLoop(address, path, connections, rate, lasts)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func runOpenLoop(address, path string, connections int, rate float64, lasts time.Duration) (OpenResult, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o := &openLoop{request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path)}
	var err error
	if o.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return OpenResult{}, err
	}
	defer o.close()
	for i := range connections {
		if err := o.open(address, i); err != nil {
			return OpenResult{}, err
		}
	}
	return o.run(rate, lasts)
}

func (o *openLoop) close() {
	for _, c := range o.conns {
		if c.fd >= 0 {
			unix.Close(c.fd)
		}
	}
	unix.Close(o.epoll)
}

func (o *openLoop) open(address string, i int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	fd, err := unix.Dup(int(f.Fd()))
	if err := errors.Join(err, f.Close(), c.Close()); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	conn := &openConn{fd: fd}
	o.conns, o.idle = append(o.conns, conn), append(o.idle, conn)
	return unix.EpollCtl(o.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)})
}

// run keeps to the plan. After its end it waits a little for the last answers; what is not answered then counts
// as waiting until then.
func (o *openLoop) run(rate float64, lasts time.Duration) (OpenResult, error) {
	const grace = 100 * time.Millisecond
	period := float64(time.Second) / rate
	total := int(rate * lasts.Seconds())
	o.took = make([]int64, 0, total)
	begin := time.Now()
	plannedAt := func(i int) time.Time { return begin.Add(time.Duration(float64(i) * period)) }
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 256<<10)
	next := 0 // first of the plan that is not sent
	for len(o.took)+o.failed < total {
		now := time.Now()
		if now.Sub(begin) > lasts+grace || o.broken == len(o.conns) {
			break
		}
		for next < total && len(o.idle) > 0 && !plannedAt(next).After(now) {
			o.send(plannedAt(next))
			next++
		}
		if err := o.wait(events, buf, until(plannedAt(next), len(o.idle) > 0 && next < total)); err != nil {
			return OpenResult{}, err
		}
	}
	r := OpenResult{Planned: total, Answered: len(o.took), Failed: o.failed, Seconds: time.Since(begin).Seconds()}
	o.addUnanswered(next, total, plannedAt)
	slices.Sort(o.took)
	us := func(q float64) float64 { return float64(quantile(o.took, q)) / 1e3 }
	r.P50, r.P99, r.P999 = us(0.5), us(0.99), us(0.999)
	return r, nil
}

// addUnanswered charges what was planned and has no answer with the time that it waited so far.
func (o *openLoop) addUnanswered(next, total int, plannedAt func(int) time.Time) {
	for ; next < total; next++ {
		o.took = append(o.took, int64(time.Since(plannedAt(next))))
	}
	for _, c := range o.conns {
		if !c.planned.IsZero() {
			o.took = append(o.took, int64(time.Since(c.planned)))
		}
	}
}

// until is how long to wait for answers: to the next planned sending if there is a connection for it.
func until(next time.Time, canSend bool) time.Duration {
	if !canSend {
		return 10 * time.Millisecond
	}
	return max(0, time.Until(next))
}

func (o *openLoop) send(planned time.Time) {
	c := o.idle[len(o.idle)-1]
	o.idle = o.idle[:len(o.idle)-1]
	c.planned, c.head, c.body = planned, c.head[:0], -1
	if n, err := unix.Write(c.fd, o.request); err != nil || n != len(o.request) {
		o.drop(c)
	}
}

// drop takes a broken connection out; its request failed.
func (o *openLoop) drop(c *openConn) {
	unix.Close(c.fd)
	c.fd = -1
	o.broken++
	o.idle = slices.DeleteFunc(o.idle, func(d *openConn) bool { return d == c })
	if !c.planned.IsZero() {
		o.failed++
		c.planned = time.Time{}
	}
}

func (o *openLoop) wait(events []unix.EpollEvent, buf []byte, limit time.Duration) error {
	n, err := epollWait(o.epoll, events, limit)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for answers: %w", err)
	}
	for i := range max(0, n) {
		if c := o.conns[events[i].Fd]; c.fd >= 0 {
			o.receive(c, buf)
		}
	}
	return nil
}

func (o *openLoop) receive(c *openConn, buf []byte) {
	n, err := unix.Read(c.fd, buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		o.drop(c)
		return
	}
	done, err := c.take(buf[:n])
	if err != nil {
		o.drop(c)
		return
	}
	if done {
		o.took = append(o.took, int64(time.Since(c.planned)))
		c.planned = time.Time{}
		o.idle = append(o.idle, c)
	}
}

// take reads a piece of an answer and tells whether that was the last.
func (c *openConn) take(b []byte) (done bool, err error) {
	if c.body >= 0 {
		c.body -= len(b)
		return c.body <= 0, nil
	}
	c.head = append(c.head, b...)
	end := bytes.Index(c.head, []byte("\r\n\r\n"))
	if end < 0 {
		return false, nil
	}
	length, err := parseHead(c.head[:end])
	if err != nil {
		return false, err
	}
	c.body = length - (len(c.head) - end - 4)
	return c.body <= 0, nil
}

// parseHead returns the length of the body of a 200.
func parseHead(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return 0, fmt.Errorf("answer %.20q", head)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		const name = "content-length:"
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return strconv.Atoi(string(bytes.TrimSpace(line[len(name):])))
		}
	}
	return 0, errors.New("an answer without content-length")
}

// epollWait is epoll_pwait2, which takes nanoseconds.
func epollWait(epoll int, events []unix.EpollEvent, limit time.Duration) (int, error) {
	ts := unix.NsecToTimespec(int64(limit))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
