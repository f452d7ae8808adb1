// SPDX-License-Identifier: Apache-2.0

//go:build full

package programs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

const bodySize = 3_000_000

// file puts the same incompressible bytes into the rig's folder each time, and returns the path.
func (m *mesh) file(name string) string {
	m.T.Helper()
	path := filepath.Join(m.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.T.Fatal(err)
	}
	if err := os.WriteFile(path, peer.Body(bodySize), 0o644); err != nil {
		m.T.Fatal(err)
	}
	return path
}

func (m *mesh) sameFile(path string) {
	m.T.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		m.T.Error(err)
	} else if !bytes.Equal(got, peer.Body(bodySize)) {
		m.T.Errorf("%s: %d bytes, not the %d that were sent", path, len(got), bodySize)
	}
}

// nginx starts one that serves the rig's folder, with uploads, on an address.
func (m *mesh) nginx(address string) {
	m.T.Helper()
	config := m.Write("nginx.conf", fmt.Sprintf(`daemon off; user root; worker_processes 2; pid %[1]s/nginx.pid; error_log stderr;
events { worker_connections 512; }
http {
  access_log off; sendfile on; client_body_buffer_size 16k; client_max_body_size 100m; keepalive_requests 1000000;
  client_body_temp_path %[1]s/nginx-body; proxy_temp_path %[1]s/nginx-proxy; fastcgi_temp_path %[1]s/nginx-f;
  uwsgi_temp_path %[1]s/nginx-u; scgi_temp_path %[1]s/nginx-s;
  server { listen %[2]s; location / { root %[1]s/www; dav_methods PUT; } location = /small { return 200 "small\n"; } }
}
`, m.Dir, address))
	m.Serve(address, rig.Program{Args: []string{need(m.T.(*testing.T), "nginx", "nginx-light"), "-c", config, "-p", m.Dir}})
}

func TestNginxCurl(t *testing.T) {
	m := newMesh(t, rig.TCPService{Name: "web", Address: "10.99.0.1:80", Endpoints: []string{"127.0.0.1:8080"}})
	curl := need(t, "curl", "curl")
	source := m.file("www/big")
	m.nginx("127.0.0.1:8080")
	for i := range 5 {
		got := filepath.Join(m.Dir, fmt.Sprint("got", i))
		m.Run(30*time.Second, rig.Program{Args: []string{curl, "-sSf", "-o", got, "http://10.99.0.1/big"}})
		m.sameFile(got)
		m.Run(30*time.Second, rig.Program{Args: []string{curl, "-sSf", "-T", source, fmt.Sprintf("http://10.99.0.1/up%d", i)}})
		m.sameFile(filepath.Join(m.Dir, "www", fmt.Sprint("up", i)))
	}
	out := m.Run(30*time.Second, rig.Program{Args: []string{curl, "-sSf", "-w", "%{remote_ip}:%{remote_port}", "http://10.99.0.1/small"}})
	if out != "small\n10.99.0.1:80" {
		t.Errorf("curl saw %q: want the service's address", out)
	}
	m.socketTier("web", 11)
}

func TestWrk(t *testing.T) {
	m := newMesh(t, rig.TCPService{Name: "web", Address: "10.99.0.1:80", Endpoints: []string{"127.0.0.1:8080"}})
	m.file("www/big")
	m.nginx("127.0.0.1:8080")
	for _, path := range []string{"small", "big"} {
		out := m.Run(60*time.Second, rig.Program{Args: []string{need(t, "wrk", "wrk"), "-t2", "-c16", "-d2s", "http://10.99.0.1/" + path}})
		if strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
			t.Errorf("wrk met errors:\n%s", out)
		}
		if n := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(out); n == nil || n[1] == "0" {
			t.Errorf("wrk made no request:\n%s", out)
		}
	}
	m.socketTier("web", 32)
}

func TestRedis(t *testing.T) {
	m := newMesh(t, rig.TCPService{Name: "redis", Address: "10.99.0.1:6379", Endpoints: []string{"127.0.0.1:6390"}})
	m.Serve("127.0.0.1:6390", rig.Program{Args: []string{need(t, "redis-server", "redis-server"), "--port", "6390",
		"--bind", "127.0.0.1", "--save", "", "--dir", m.Dir}})
	out := m.Run(60*time.Second, rig.Program{Args: []string{need(t, "redis-benchmark", "redis-tools"), "-h", "10.99.0.1",
		"-q", "-n", "5000", "-c", "20", "-d", "512", "-t", "set,get,lpush,mset"}})
	if strings.Contains(strings.ToLower(out), "error") || !strings.Contains(out, "GET:") {
		t.Errorf("redis-benchmark:\n%s", out)
	}
	cli := need(t, "redis-cli", "redis-tools")
	value := fmt.Sprintf("%x", peer.Body(500_000))
	m.Run(30*time.Second, rig.Program{Args: []string{cli, "-h", "10.99.0.1", "-x", "set", "k"}, Stdin: value})
	if got := m.Run(30*time.Second, rig.Program{Args: []string{cli, "-h", "10.99.0.1", "get", "k"}}); strings.TrimSpace(got) != value {
		t.Errorf("redis gave %d characters back, not the %d stored", len(got), len(value))
	}
	m.socketTier("redis", 4*20+2)
}

func TestPostgres(t *testing.T) {
	m := newMesh(t, rig.TCPService{Name: "db", Address: "10.99.0.1:5432", Endpoints: []string{"127.0.0.1:5499"}})
	initdb, server := need(t, "initdb", "postgresql"), need(t, "postgres", "postgresql")
	pgbench, psql := need(t, "pgbench", "postgresql-contrib", "postgresql"), need(t, "psql", "postgresql-client")
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	// The server refuses to be root. Its folder must be reachable by its user, which the rig's is not.
	as := &syscall.Credential{Uid: number(t, u.Uid), Gid: number(t, u.Gid)}
	dir, err := os.MkdirTemp("", "leno-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
		t.Fatal(err)
	}
	m.Run(2*time.Minute, rig.Program{Args: []string{initdb, "-D", dir + "/data", "-A", "trust", "-U", "postgres", "--no-sync"}, User: as, Dir: dir})
	m.Serve("127.0.0.1:5499", rig.Program{Args: []string{server, "-D", dir + "/data", "-p", "5499", "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"}, User: as, Dir: dir})
	connect := []string{"-h", "10.99.0.1", "-U", "postgres"}
	run := func(program string, args ...string) string {
		return m.Run(2*time.Minute, rig.Program{Args: append(append([]string{program}, connect...), args...), Outside: false})
	}
	m.Until(30*time.Second, "postgres accepts queries", func() bool {
		p := m.Start(rig.Program{Args: append(append([]string{psql}, connect...), "-c", "select 1", "postgres")})
		return p.Wait(30*time.Second) == 0
	})
	run(pgbench, "-i", "-q", "-s", "1", "postgres")
	if out := run(pgbench, "-c", "8", "-j", "2", "-t", "100", "postgres"); !strings.Contains(out, "processed: 800/800") {
		t.Errorf("pgbench:\n%s", out)
	}
	run(pgbench, "-n", "-S", "-C", "-c", "4", "-t", "25", "postgres") // one connection for each transaction
	sums := run(psql, "-At", "-c", "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), "+
		"(select count(*) from pgbench_history)", "postgres")
	if strings.TrimSpace(sums) != "t|800" {
		t.Errorf("balances and history: %q, want t|800", sums)
	}
	m.socketTier("db", 8+100+2)
}

func number(t *testing.T, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestIperf3(t *testing.T) {
	r := rig.New(t)
	node := r.NewNamespace()
	iperf := need(t, "iperf3", "iperf3")
	m := startMesh(r, rig.TCPService{Name: "near", Address: "10.99.0.1:5201", Endpoints: []string{"127.0.0.1:5299"}},
		rig.TCPService{Name: "far", Address: "10.99.0.2:5201", Endpoints: []string{node.V4 + ":5299"}})
	for _, c := range []struct {
		service, address string
		ns               *rig.Namespace
	}{{"near", "10.99.0.1", r.Home}, {"far", "10.99.0.2", node}} {
		endpoint := map[string]string{"near": "127.0.0.1:5299", "far": node.V4 + ":5299"}[c.service]
		m.Serve(endpoint, rig.Program{Args: []string{iperf, "-s", "-p", "5299"}, Namespace: c.ns})
		var sent, received uint64 // as the receiving program saw them
		for _, more := range [][]string{{}, {"-R"}, {"-P", "4"}} {
			n := m.iperf(append([]string{iperf, "-c", c.address, "-n", "50M", "-J"}, more...))
			if len(more) == 1 {
				received += n
			} else {
				sent += n
			}
		}
		m.socketTier(c.service, 2+2+5)
		grown := m.agent.Stats().Since(m.before)
		if n := grown["cluster."+c.service+".upstream_cx_tx_bytes_total"]; n < sent {
			t.Errorf("%s: %d bytes counted as sent, %d arrived", c.service, n, sent)
		}
		if n := grown["cluster."+c.service+".upstream_cx_rx_bytes_total"]; n < received {
			t.Errorf("%s: %d bytes counted as received, %d arrived", c.service, n, received)
		}
	}
}

// iperf runs an iperf3 client and returns how many bytes its receiving side got.
func (m *mesh) iperf(args []string) uint64 {
	m.T.Helper()
	out := m.Run(time.Minute, rig.Program{Args: args})
	var result struct {
		End struct {
			Sent     struct{ Bytes uint64 } `json:"sum_sent"`
			Received struct{ Bytes uint64 } `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		m.T.Fatalf("iperf3: %v\n%s", err, out)
	}
	if result.End.Received.Bytes == 0 || result.End.Sent.Bytes < 50_000_000 {
		m.T.Errorf("%v: %+v", args, result.End)
	}
	return result.End.Received.Bytes
}

func TestSSH(t *testing.T) {
	m := newMesh(t, rig.TCPService{Name: "ssh", Address: "10.99.0.1:22", Endpoints: []string{"127.0.0.1:2299"}})
	keygen := need(t, "ssh-keygen", "openssh-client")
	for _, key := range []string{"host", "user"} {
		m.Run(30*time.Second, rig.Program{Args: []string{keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(m.Dir, key)}, Outside: true})
	}
	// sshd changes into it; Debian's service makes it at start.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	config := m.Write("sshd_config", fmt.Sprintf(`HostKey %[1]s/host
AuthorizedKeysFile %[1]s/user.pub
PidFile none
StrictModes no
PermitRootLogin prohibit-password
UsePAM no
`, m.Dir))
	m.Serve("127.0.0.1:2299", rig.Program{Args: []string{need(t, "sshd", "openssh-server"), "-D", "-e", "-f", config, "-p", "2299",
		"-o", "ListenAddress=127.0.0.1"}})
	ssh := []string{need(t, "ssh", "openssh-client"), "-F", "none", "-i", filepath.Join(m.Dir, "user"), "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "root@10.99.0.1"}
	body := fmt.Sprintf("%x", peer.Body(bodySize))
	for range 3 {
		out := m.Run(time.Minute, rig.Program{Args: append(ssh[:len(ssh):len(ssh)], "cat"), Stdin: body})
		if out != body {
			t.Errorf("%d bytes came back, not the %d sent", len(out), len(body))
		}
	}
	m.socketTier("ssh", 3)
}

// HAProxy as a client of one service and the server of another: a chain of two placed connections.
func TestHAProxy(t *testing.T) {
	m := newMesh(t, rig.TCPService{Name: "front", Address: "10.99.0.1:80", Endpoints: []string{"127.0.0.1:8081"}},
		rig.TCPService{Name: "back", Address: "10.99.0.2:80", Endpoints: []string{"127.0.0.1:8080"}})
	source := m.file("www/big")
	m.nginx("127.0.0.1:8080")
	config := m.Write("haproxy.cfg", `global
  maxconn 500
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:8081
  default_backend b
backend b
  server s 10.99.0.2:80
`)
	proxy := m.Serve("127.0.0.1:8081", rig.Program{Args: []string{need(t, "haproxy", "haproxy"), "-db", "-f", config}})
	curl := need(t, "curl", "curl")
	for i := range 5 {
		got := filepath.Join(m.Dir, fmt.Sprint("got", i))
		m.Run(30*time.Second, rig.Program{Args: []string{curl, "-sSf", "-o", got, "http://10.99.0.1/big"}})
		m.sameFile(got)
		m.Run(30*time.Second, rig.Program{Args: []string{curl, "-sSf", "-T", source, fmt.Sprintf("http://10.99.0.1/up%d", i)}})
		m.sameFile(filepath.Join(m.Dir, "www", fmt.Sprint("up", i)))
	}
	out := m.Run(60*time.Second, rig.Program{Args: []string{need(t, "wrk", "wrk"), "-t1", "-c8", "-d2s", "http://10.99.0.1/small"}})
	if strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
		t.Errorf("wrk met errors:\n%s", out)
	}
	proxy.Kill() // it keeps idle connections to its server open
	m.socketTier("front", 18)
	m.socketTier("back", 1)
}
