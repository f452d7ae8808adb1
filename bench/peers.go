// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// route is one address of a contender: what comes to Port goes to the upstream.
type route struct {
	Port     int
	Upstream string
	HTTP     bool // decided request by request, else connection by connection
}

// contender carries load. Bare is the one that carries nothing.
type contender struct {
	name string
	// http: it is configured to decide each request; else each connection.
	http bool
	// managed: client and server run in its cgroup (leno).
	managed bool
	// start begins it with its routes and waits until it answers; nil for bare.
	start func(w *world, c *contender, routes []route) (*process, error)

	cgroup  string   // of clients and managed servers
	process *process // after start
	offset  int      // of its ports
}

// workers is how many threads each proxy gets.
const workers = 1

// missing says why a peer takes no part.
type missing struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// contenders returns those that can run here, and the others.
func contenders(leno string) (all []*contender, absent []missing) {
	all = append(all, &contender{name: "bare"})
	if _, err := os.Stat(leno); err != nil {
		absent = append(absent, missing{"leno", err.Error() + " (make build)"})
	} else {
		for _, c := range []contender{{name: "leno-socket"}, {name: "leno-proxy", http: true}, {name: "leno-proxy-tcp"}} {
			c.managed = true
			c.start = func(w *world, c *contender, r []route) (*process, error) { return startLeno(w, c, r, leno) }
			all = append(all, &c)
		}
	}
	if path, err := exec.LookPath("nginx"); err != nil {
		absent = append(absent, missing{"nginx", err.Error() + " (test/install.sh nginx-light)"})
	} else {
		all = append(all, &contender{name: "nginx", http: true, start: starter(path, "nginx.conf", nginxProxy, "-c")})
	}
	if path, err := exec.LookPath("haproxy"); err != nil {
		absent = append(absent, missing{"haproxy", err.Error() + " (test/install.sh haproxy)"})
	} else {
		f := starter(path, "haproxy.cfg", haproxyProxy, "-db", "-f")
		all = append(all, &contender{name: "haproxy", http: true, start: f}, &contender{name: "haproxy-tcp", start: f})
	}
	if path, err := findEnvoy(); err != nil {
		absent = append(absent, missing{"envoy", err.Error() + " (test/install.sh envoy)"})
	} else {
		f := starter(path, "envoy.yaml", envoyFile, "--concurrency", fmt.Sprint(workers), "--disable-hot-restart", "-l", "off", "-c")
		all = append(all, &contender{name: "envoy", http: true, start: f}, &contender{name: "envoy-tcp", start: f})
	}
	return all, absent
}

// findEnvoy looks where test/install.sh puts it, then in the path.
func findEnvoy() (string, error) {
	cache := os.Getenv("LENO_TEST_CACHE")
	if cache == "" {
		cache = "/var/cache/leno-test"
	}
	found, err := filepath.Glob(filepath.Join(cache, "envoy-*", "envoy"))
	if err == nil && len(found) > 0 {
		return found[len(found)-1], nil
	}
	return exec.LookPath("envoy")
}

// starter writes a configuration and starts a proxy on it.
func starter(path, file string, text func(dir string, r []route) string, args ...string) func(*world, *contender, []route) (*process, error) {
	return func(w *world, c *contender, routes []route) (*process, error) {
		dir := filepath.Join(w.dir, c.name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		conf := filepath.Join(dir, file)
		if err := os.WriteFile(conf, []byte(text(dir, routes)), 0o600); err != nil {
			return nil, err
		}
		p, err := w.start(c.name, place{}, append(append([]string{path}, args...), conf)...)
		if err != nil {
			return nil, err
		}
		return p, answersAll(p, routes)
	}
}

func answersAll(p *process, routes []route) error {
	for _, r := range routes {
		at := local(r.Port)
		if err := p.until(p.name+" listens on "+at, func() bool { return accepts(at) }); err != nil {
			return err
		}
	}
	return nil
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// startLeno starts an agent on the same file that Envoy gets, for a cgroup of its own.
func startLeno(w *world, c *contender, routes []route, leno string) (*process, error) {
	dir := filepath.Join(w.dir, c.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(conf, []byte(envoyFile(dir, routes)), 0o600); err != nil {
		return nil, err
	}
	tier := "proxy"
	if c.name == "leno-socket" {
		tier = "socket"
	}
	a, err := w.agent(c.name, leno, dir, c.cgroup, "-c", conf, "--tier", tier, "--concurrency", fmt.Sprint(workers))
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		// Asked from where the clients will be: a listener of the socket tier works there and nowhere else.
		if _, err := w.run(context.Background(), c.cgroup, w.self, "probe", "reach", local(r.Port)); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// agent starts leno with pins and state of its own and waits until it says that it is ready.
func (w *world) agent(name, leno, dir, cgroup string, args ...string) (*process, error) {
	pins := fmt.Sprintf("/sys/fs/bpf/leno-bench-%d-%s", os.Getpid(), name)
	// Added first, done last: what an agent that was killed left in the kernel.
	w.atEnd(func() error {
		if _, err := os.Stat(pins); err != nil {
			return nil
		}
		_, err := w.run(context.Background(), "", leno, "down", "--pin-dir", pins, "--state-dir", dir)
		return err
	})
	p, err := w.start(name, place{}, append([]string{leno, "run", "--pin-dir", pins, "--state-dir", dir, "--cgroup", cgroup,
		"--drain-time-s", "1", "--log-level", "warning"}, args...)...)
	if err != nil {
		return nil, err
	}
	return p, p.until(name+" is ready", func() bool { return ready(filepath.Join(dir, "admin.sock")) })
}

func ready(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("GET /ready HTTP/1.1\r\nHost: leno\r\n\r\n")); err != nil {
		return false
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	return err == nil && bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200"))
}

func nginxProxy(dir string, routes []route) string {
	var b strings.Builder
	fmt.Fprintf(&b, `user root;
daemon off;
pid %[1]s/pid;
error_log %[1]s/error.log;
worker_processes %[2]d;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_max_body_size 0;
  proxy_request_buffering off;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
`, dir, workers)
	for i, r := range routes {
		fmt.Fprintf(&b, "  upstream u%d { server %s; keepalive 512; keepalive_requests 1000000000; }\n", i, r.Upstream)
		fmt.Fprintf(&b, "  server { listen 127.0.0.1:%d backlog=4096; location / { proxy_pass http://u%d; } }\n", r.Port, i)
	}
	return b.String() + "}\n"
}

func haproxyProxy(_ string, routes []route) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global\n  nbthread %d\n  maxconn 8192\ndefaults\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n", workers)
	for i, r := range routes {
		mode := "tcp"
		if r.HTTP {
			mode = "http\n  http-reuse always"
		}
		fmt.Fprintf(&b, "listen l%d\n  bind 127.0.0.1:%d\n  mode %s\n  server s %s\n", i, r.Port, mode, r.Upstream)
	}
	return b.String()
}
