// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Ports of the server, on every address of its namespace. A server shares the namespace of this program with
// others in one place, hence offset.
const (
	portHTTP = 21080
	portBulk = 21081
)

// serve is the process behind every load: nginx with one worker, or Go's server where there is no nginx, and a sink
// for bulk TCP. It ends with its input.
func serve(dir string, offset int) error {
	sink, err := net.Listen("tcp", fmt.Sprintf(":%d", portBulk+offset))
	if err != nil {
		return err
	}
	go swallow(sink)
	if err := writePages(dir); err != nil {
		return err
	}
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		s := http.Server{Addr: fmt.Sprintf(":%d", portHTTP+offset), Handler: goServer(dir), ReadHeaderTimeout: time.Minute}
		go func() {
			if err := s.ListenAndServe(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}()
		untilInputEnds()
		return nil
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(nginxServer(dir, portHTTP+offset)), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	untilInputEnds()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

// pages are the bodies that the server gives.
var pages = map[string]int{"small": 128, "64k": 64 << 10, "1m": 1 << 20}

func writePages(dir string) error {
	for name, size := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("x", size)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func nginxServer(dir string, port int) string {
	return fmt.Sprintf(`user root;
daemon off;
pid %[1]s/nginx.pid;
worker_processes 1;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_max_body_size 0;
  client_body_temp_path %[1]s/body;
  open_file_cache max=16;
  server {
    listen %[2]d backlog=4096;
    location / { root %[1]s; }
    location = /small { return 200 "%[3]s"; }
    # A server that answers at once would not read the body; this one writes it to memory.
    location = /sink { root %[1]s; dav_methods PUT; dav_access all:rw; }
  }
}
`, dir, port, strings.Repeat("x", pages["small"]))
}

func goServer(dir string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(dir)))
	mux.HandleFunc("/sink", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			_, _ = io.WriteString(w, "ok")
		}
	})
	return mux
}

// swallow reads everything from everybody.
func swallow(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 256<<10)
			for {
				if _, err := c.Read(buf); err != nil {
					return // the sender left
				}
			}
		}()
	}
}

// bulk sends for some time and prints how many bytes went per second.
func bulk(address string, lasts time.Duration) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 128<<10)
	var sent int
	start := time.Now()
	for time.Since(start) < lasts {
		n, err := c.Write(buf)
		if err != nil {
			return err
		}
		sent += n
	}
	fmt.Printf("%.0f\n", float64(sent)/time.Since(start).Seconds())
	return nil
}
