// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this binary be a server of the demo, in a namespace of its own.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "server" {
		if err := Serve(os.Args[2], os.Args[3], os.Args[4], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startServer starts a service in a namespace of its own, over the i-th link, and returns its address.
func startServer(t *testing.T, i int, service, listen string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	subnet, err := FreeSubnet()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "server", service, "v1", "0.0.0.0:"+listen)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		life.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the %s server ended with %v", service, err)
		}
	})
	l := LinkIn(subnet, i, fmt.Sprintf("lenot%d-%d", os.Getpid()%10_000_000, i))
	if err := l.Up(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	at := net.JoinHostPort(l.There.Addr().String(), listen)
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.DialTimeout("tcp", at, time.Second)
		if err == nil {
			c.Close()
			return at
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestClient asks real servers over a real link; without a mesh between them every answer is the client's own.
func TestClient(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	http, tcp := startServer(t, 0, serviceHTTP, "80"), startServer(t, 1, serviceTCP, "7000")
	life, end := io.Pipe()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Client(Targets{HTTP: http, TCP: tcp, DirectHTTP: http, DirectTCP: tcp}, life, in)
		in.Close()
	}()
	seen := map[string]int{}
	for dec := json.NewDecoder(out); ; {
		var e event
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e.Error != "" || e.Version != "v1" || !e.Own || e.Took <= 0 {
			t.Errorf("event %+v, want an answer of v1 on the client's own connection", e)
		}
		kind := fmt.Sprint(e.Service, " ", e.Direct)
		if seen[kind]++; len(seen) == 5 && seen["http false"] > 50 {
			end.Close() // once or again
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(seen) != 5 {
		t.Errorf("saw %v, want both services by both ways and the open connection", seen)
	}
}

func TestFilesName(t *testing.T) {
	f := files{dir: t.TempDir()}
	for _, s := range []Split{{100, 0}, {90, 10}} {
		if err := f.write(s); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(f.path("listeners.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), "tcp-v2"); got != (s.V2 > 0) {
			t.Errorf("%s: a TCP share for version two: %t; Envoy refuses weight 0 there", s, got)
		}
	}
}
