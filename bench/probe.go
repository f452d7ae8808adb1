// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// probe is a client that runs in a managed cgroup:
//
//	connect N HOW FILE connects N times to addresses of a file, HOW: all in turn, or random; prints the median
//	                   time of connect() in ns
//	reach ADDRESS      tries until somebody accepts
//	first ADDRESS      tries until a server answers; prints when that was
//	change ADDRESS X   tries until a server other than X answers; prints when that was
//
// Times are Unix nanoseconds. The servers are those of announce.
func probe(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "connect":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		text, err := os.ReadFile(args[3])
		if err != nil {
			return err
		}
		return probeConnect(n, strings.Fields(string(text)), args[2] == "random")
	case len(args) == 2 && args[0] == "reach":
		for deadline := time.Now().Add(30 * time.Second); !accepts(args[1]); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("waited 30 s in vain until somebody accepts on %s", args[1])
			}
		}
		return nil
	case len(args) == 2 && args[0] == "first":
		return probeChange(args[1], "")
	case len(args) == 3 && args[0] == "change":
		return probeChange(args[1], args[2])
	default:
		return fmt.Errorf("%q is no probe", args)
	}
}

// announce says name to everybody who connects and waits until he has left.
func announce(name string) (net.Listener, error) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer c.Close()
				if _, err := io.WriteString(c, name+"\n"); err == nil {
					// Whatever ends it, the client has left.
					_, _ = io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	return l, nil
}

func probeConnect(n int, addresses []string, random bool) error {
	var to []unix.SockaddrInet4
	for _, a := range addresses {
		t, err := net.ResolveTCPAddr("tcp4", a)
		if err != nil {
			return err
		}
		to = append(to, unix.SockaddrInet4{Port: t.Port, Addr: [4]byte(t.IP.To4())})
	}
	took := make([]int64, 0, n)
	for i := range n {
		next := i % len(to)
		if random {
			next = rand.IntN(len(to))
		}
		t, err := timeConnect(&to[next])
		if err != nil {
			return err
		}
		took = append(took, int64(t))
	}
	slices.Sort(took)
	return json.NewEncoder(os.Stdout).Encode(quantile(took, 0.5))
}

// timeConnect measures connect() alone. It waits for the server's word, so that the server's queue stays empty, and
// leaves by a reset, so that no port waits.
func timeConnect(to *unix.SockaddrInet4) (time.Duration, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	start := time.Now()
	err = unix.Connect(fd, to)
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("connect to %v:%d: %w", to.Addr, to.Port, err)
	}
	var buf [64]byte
	if _, err := unix.Read(fd, buf[:]); err != nil {
		return 0, fmt.Errorf("read the server's word: %w", err)
	}
	return took, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// probeChange prints when a server other than old first answered.
func probeChange(address, old string) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		c, err := net.DialTimeout("tcp4", address, 200*time.Millisecond)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		word, err := bufio.NewReader(c).ReadString('\n')
		at := time.Now()
		c.Close()
		if word = strings.TrimSpace(word); err == nil && word != old {
			return json.NewEncoder(os.Stdout).Encode(at.UnixNano())
		}
	}
	return errors.New("waited a minute in vain")
}
