// SPDX-License-Identifier: Apache-2.0

// Package peer holds small Go programs that tests start as processes of their
// own (rig.Children): an HTTP server and client, a TCP echo server, and a
// client that keeps up a load of checked connections. They know nothing of
// leno. It is imported by tests only and measures no speed.
package peer

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/leno-mesh/leno/test/rig"
)

// Children are the programs of this package, for rig.Main.
func Children() rig.Children {
	return rig.Children{
		"http-server": httpServer,
		"http-client": httpClient,
		"echo":        echo,
		"load":        load,
		"steady":      steady,
		"http-load":   httpLoad,
	}
}

// Body is n bytes that are the same for the same n, and incompressible.
func Body(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// httpServer ADDRESS [DELAY]: answers every request, after the delay, with the body that came.
func httpServer(args []string) error {
	var delay time.Duration
	if len(args) > 1 {
		var err error
		if delay, err = time.ParseDuration(args[1]); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(delay)
		w.Header().Set("X-Server", "go")
		w.Write(body)
	}))
}

// httpClient URL...: sends bodies of many sizes on a kept connection and on new ones, and compares the answers.
func httpClient(args []string) error {
	for _, target := range args {
		if err := checkPeerName(target); err != nil {
			return err
		}
		kept := &http.Client{Timeout: rig.Slow(30 * time.Second)}
		single := &http.Client{Timeout: rig.Slow(30 * time.Second), Transport: &http.Transport{DisableKeepAlives: true}}
		for i := range 30 {
			if err := exchange(kept, target, i*i*1171%300_000); err != nil {
				return err
			}
		}
		for i := range 10 {
			if err := exchange(single, target, i*977); err != nil {
				return err
			}
		}
		kept.CloseIdleConnections()
	}
	fmt.Println("ok")
	return nil
}

func exchange(c *http.Client, target string, size int) error {
	body := Body(size)
	resp, err := c.Post(target, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, body) {
		return fmt.Errorf("%s: status %d, %d bytes back, not the %d sent", target, resp.StatusCode, len(got), size)
	}
	return nil
}

// checkPeerName proves that a connected program sees the address it asked for.
func checkPeerName(target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != u.Host {
		return fmt.Errorf("getpeername says %s, connected to %s", got, u.Host)
	}
	return nil
}
