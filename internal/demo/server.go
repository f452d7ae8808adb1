// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Headers by which a version of the HTTP service, and the route before it, say who they are.
const (
	headerVersion = "X-Demo-Version"
	headerPeer    = "X-Demo-Peer"
	headerSplit   = "X-Demo-Split"
)

// Serve is one version of one service ("http" or "tcp"). It returns when life ends, which is how the demo stops it:
// the pipe closes also when the demo is killed.
func Serve(service, version, address string, life io.Reader) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for the %s service: %w", service, err)
	}
	failed := make(chan error, 1)
	switch service {
	case serviceHTTP:
		s := http.Server{Handler: httpService(version), ReadHeaderTimeout: 10 * time.Second}
		go func() { failed <- s.Serve(l) }()
	case serviceTCP:
		go func() { failed <- serveLines(l, version) }()
	default:
		return fmt.Errorf("%q is not a service of the demo: use http or tcp", service)
	}
	ended := make(chan struct{})
	go func() {
		// Whatever ends the pipe ends the service.
		_, _ = io.Copy(io.Discard, life)
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", service, err)
	}
}

func httpService(version string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(headerVersion, version)
		w.Header().Set(headerPeer, r.RemoteAddr)
		fmt.Fprintf(w, "%s says hello\n", version)
	})
}

// serveLines answers each line with the version, the peer's port and the line.
func serveLines(l net.Listener, version string) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				if _, err := fmt.Fprintf(c, "%s %d %s\n", version, port(c.RemoteAddr()), lines.Text()); err != nil {
					return // the client left
				}
			}
		}()
	}
}

func port(a net.Addr) int {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.Port
	}
	return 0
}
