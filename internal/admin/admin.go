// SPDX-License-Identifier: Apache-2.0

// Package admin answers Envoy's admin paths over HTTP: read-only on the
// address that the bootstrap names, and on a unix socket where the agent's own
// commands may also change things. It holds no state; everything is asked of
// the agent when a request comes. It is not for serving traffic.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/status"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/telemetry"
)

// Agent is what the admin API asks. All methods are safe for concurrent use.
type Agent interface {
	Status() status.Status
	// Samples are read from the tiers at the time of the call.
	Samples() []telemetry.Sample
	// Current is the configuration, hosts and tables in force; nil before the first.
	Current() (*mesh.Config, *mesh.Hosts, *table.Tables)
	// Endpoints are the counters of every host that has carried something.
	Endpoints() []telemetry.Endpoint
	// SuccessRates is what outlier detection found of a cluster; nil: it has none.
	SuccessRates(mesh.ClusterID) *mesh.SuccessRates
	// Stop ends the agent as Ctrl-C does if detach is set, else as SIGTERM does. It returns at once.
	Stop(detach bool)
	// ReopenLogs opens every access log again by its path. It returns at once.
	ReopenLogs()
}

// Server answers for one agent.
type Server struct {
	agent Agent
}

// New returns a server; it listens nowhere yet.
func New(a Agent) *Server { return &Server{agent: a} }

// ServeTCP answers read-only requests on l until ctx ends. The Host header must name an IP address, localhost or
// nothing, so that a web page cannot reach the server by DNS rebinding.
func (s *Server) ServeTCP(ctx context.Context, l net.Listener) error {
	return serve(ctx, l, checkHost(s.handler(false)))
}

// ListenUnix makes the control socket at path with mode 0600, replacing a dead one.
func ListenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the admin socket: %w", err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another agent answers on %s: stop it first (leno down), or give this one its own --state-dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old admin socket: %w", err)
	}
	// Narrow before the socket exists, so that there is no moment with wider rights.
	old := unix.Umask(0o177)
	l, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin socket: %w", err)
	}
	return l, nil
}

// ServeUnix answers all requests on l until ctx ends, from root and from the agent's own user only.
func (s *Server) ServeUnix(ctx context.Context, l net.Listener) error {
	return serve(ctx, peerChecked{l}, s.handler(true))
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		// A reader of /stats gets its answer; nobody can hold the agent up.
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(short) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin server on %s: %w", l.Addr(), err)
	}
	return nil
}

// peerChecked refuses connections from users other than root and our own.
type peerChecked struct{ net.Listener }

func (p peerChecked) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, ok := peerUID(c); ok && (uid == 0 || int(uid) == os.Getuid()) {
			return c, nil
		}
		c.Close()
	}
}

func peerUID(c net.Conn) (uint32, bool) {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}) != nil || err != nil {
		return 0, false
	}
	return cred.Uid, true
}

func checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" && host != "" {
			http.Error(w, "the Host header must be an IP address or localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) handler(mutations bool) http.Handler {
	type page struct {
		path, help string
		serve      http.HandlerFunc
		changes    bool
	}
	pages := []page{
		{"/clusters", "upstream cluster status (?format=json)", s.clusters, false},
		{"/leno/status", "what the agent is doing, as JSON", s.status, false},
		{"/leno/tables", "the compiled tables", s.tables, false},
		{"/listeners", "listener addresses (?format=json)", s.listeners, false},
		{"/ready", "200 LIVE when the configuration is in force, else 503", s.ready, false},
		{"/server_info", "version and state, as JSON", s.serverInfo, false},
		{"/stats", "statistics (?format=json|prometheus, ?filter=REGEX, ?usedonly)", s.stats, false},
		{"/stats/prometheus", "statistics for Prometheus", s.prometheus, false},
	}
	if mutations {
		pages = append(pages,
			page{"/leno/down", "detach everything and exit (POST)", s.down, true},
			page{"/reopen_logs", "reopen access logs (POST)", s.reopenLogs, true},
			page{"/quitquitquit", "drain and exit, leaving the kernel half in force (POST)", s.quit, true})
	}
	mux := http.NewServeMux()
	var help strings.Builder
	help.WriteString("admin commands are:\n")
	sort.Slice(pages, func(i, j int) bool { return pages[i].path < pages[j].path })
	for _, p := range pages {
		mux.HandleFunc(p.path, withMethod(p.serve, p.changes))
		fmt.Fprintf(&help, "  %s: %s\n", p.path, p.help)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" && r.URL.Path != "/help" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "invalid path. ")
		}
		fmt.Fprint(w, help.String())
	})
	return mux
}

// withMethod holds Envoy's rule: what changes something needs POST, and GET for it is a 405.
func withMethod(next http.HandlerFunc, changes bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if changes && r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "Invalid method, POST required", http.StatusMethodNotAllowed)
			return
		}
		next(w, r)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	// The only error is a client that left; there is nobody to tell.
	_ = e.Encode(v)
}
