// SPDX-License-Identifier: Apache-2.0

//go:build full

package programs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/peer"
	"github.com/leno-mesh/leno/test/rig"
)

// The same programs as clients and servers of HTTP listeners, which the agent carries request by request.

// site is an HTTP listener, and a cluster of the same name with one endpoint.
type site struct{ name, address, endpoint string }

// webMesh starts leno with the sites, all in the proxy tier.
func webMesh(r *rig.Rig, sites ...site) *mesh {
	r.T.Helper()
	var listeners, clusters strings.Builder
	for _, s := range sites {
		fmt.Fprintf(&listeners, webListener, s.name, hostPort(s.address))
		fmt.Fprintf(&clusters, "  - {name: %[1]s, load_assignment: {cluster_name: %[1]s, endpoints: [{lb_endpoints: [{endpoint: {address: %[2]s}}]}]}}\n",
			s.name, hostPort(s.endpoint))
	}
	m := &mesh{Rig: r}
	m.agent = r.Agent(r.Write("bootstrap.yaml", "static_resources:\n  listeners:\n"+listeners.String()+"  clusters:\n"+clusters.String()), "--tier=proxy")
	m.before = m.agent.Stats()
	return m
}

const webListener = `  - name: %[1]s
    address: %[2]s
    bind_to_port: false
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: %[1]s
          upgrade_configs: [{upgrade_type: websocket}]
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: %[1]s}}]}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

func hostPort(address string) string {
	i := strings.LastIndexByte(address, ':')
	return fmt.Sprintf("{socket_address: {address: %q, port_value: %s}}", strings.Trim(address[:i], "[]"), address[i+1:])
}

// carried proves that the agent carried so many requests of the site, all of them well, and that nothing is left of them.
func (m *mesh) carried(site string, atLeast uint64) {
	m.T.Helper()
	m.Until(20*time.Second, "no request of "+site+" is active", func() bool {
		s := m.agent.Stats()
		return s["http."+site+".downstream_cx_active"]+s["http."+site+".downstream_rq_active"]+s["cluster."+site+".upstream_rq_active"] == 0
	})
	grown := m.agent.Stats().Since(m.before)
	if n := grown["cluster."+site+".upstream_rq_total"]; n < atLeast {
		m.T.Errorf("%s: %d requests went upstream, want at least %d", site, n, atLeast)
	}
	for _, bad := range []string{"http." + site + ".downstream_rq_5xx", "http." + site + ".downstream_rq_4xx", "http." + site + ".downstream_cx_protocol_error",
		"cluster." + site + ".upstream_cx_protocol_error", "cluster." + site + ".upstream_cx_connect_fail"} {
		if n := grown[bad]; n != 0 {
			m.T.Errorf("%s grew by %d", bad, n)
		}
	}
}

func TestHTTPLanguages(t *testing.T) {
	r := rig.New(t)
	foreign := languages(r)
	var sites []site
	var urls []string
	for i, language := range []string{"go", "python", "node", "java"} {
		s := site{language, fmt.Sprintf("10.99.0.%d:80", i+1), fmt.Sprintf("127.0.0.1:%d", 8000+i)}
		if language == "go" {
			r.Serve(s.endpoint, r.Child("http-server", s.endpoint))
		} else {
			r.Serve(s.endpoint, program(foreign[language], "server", "127.0.0.1", fmt.Sprint(8000+i)))
		}
		sites, urls = append(sites, s), append(urls, "http://"+s.address+"/")
	}
	m := webMesh(r, sites...)
	m.Run(2*time.Minute, m.Child("http-client", urls...))
	for language := range foreign {
		m.Run(2*time.Minute, program(foreign[language], append([]string{"client"}, urls...)...))
	}
	for _, s := range sites {
		m.carried(s.name, 4*40) // each client: 30 on a kept connection, 10 on single ones
	}
}

func TestHTTPWebSocket(t *testing.T) {
	r := rig.New(t)
	node := need(t, "node", "nodejs")
	script, err := filepath.Abs("testdata/websocket.mjs")
	if err != nil {
		t.Fatal(err)
	}
	r.Serve("127.0.0.1:8080", rig.Program{Args: []string{node, script, "server", "127.0.0.1", "8080"}})
	m := webMesh(r, site{"ws", "10.99.0.1:80", "127.0.0.1:8080"})
	for range 5 {
		m.Run(30*time.Second, rig.Program{Args: []string{node, script, "client", "10.99.0.1", "80"}})
	}
	m.carried("ws", 5)
	if n := m.agent.Stats()["http.ws.downstream_rq_1xx"]; n != 5 {
		t.Errorf("%d answers of 101, want 5", n)
	}
}

func TestHTTPNginx(t *testing.T) {
	m := webMesh(rig.New(t), site{"web", "10.99.0.1:80", "127.0.0.1:8080"})
	m.file("www/big")
	m.nginx("127.0.0.1:8080")
	m.curls()
	m.wrks("small", "big")
}

func TestHTTPApache(t *testing.T) {
	m := webMesh(rig.New(t), site{"web", "10.99.0.1:80", "127.0.0.1:8080"})
	m.file("www/big")
	if err := os.WriteFile(filepath.Join(m.Dir, "www", "small"), []byte("small\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.apache("127.0.0.1:8080")
	m.curls()
	m.wrks("small", "big")
}

// apache starts one that serves the rig's folder, with uploads, on an address.
func (m *mesh) apache(address string) {
	m.T.Helper()
	binary := need(m.T.(*testing.T), "apache2", "apache2-bin")
	config := m.Write("apache.conf", fmt.Sprintf(`ServerRoot %[1]s
ServerName localhost
Listen %[2]s
PidFile %[1]s/apache.pid
Mutex file:%[1]s default
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
User nobody
Group nogroup
DavLockDB %[1]s/www/lock
KeepAlive On
MaxKeepAliveRequests 0
DocumentRoot %[1]s/www
<Directory %[1]s/www>
  Dav On
  Require all granted
</Directory>
`, m.Dir, address))
	for path := filepath.Join(m.Dir, "www"); path != "/tmp" && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o777); err != nil { // its workers are not root
			m.T.Fatal(err)
		}
	}
	m.Serve(address, rig.Program{Args: []string{binary, "-f", config, "-X"}})
}

// curls loads and uploads in the ways that curl has.
func (m *mesh) curls() {
	m.T.Helper()
	curl := need(m.T.(*testing.T), "curl", "curl")
	source, got := filepath.Join(m.Dir, "www", "big"), filepath.Join(m.Dir, "got")
	run := func(args ...string) string {
		return m.Run(60*time.Second, rig.Program{Args: append([]string{curl, "-sSf"}, args...)})
	}
	run("-o", got, "http://10.99.0.1/big")
	m.sameFile(got)
	run("-T", source, "http://10.99.0.1/up1")
	m.sameFile(filepath.Join(m.Dir, "www", "up1"))
	run("-H", "transfer-encoding: chunked", "-H", "expect:", "-T", source, "http://10.99.0.1/up2")
	m.sameFile(filepath.Join(m.Dir, "www", "up2"))
	run("-H", "expect: 100-continue", "-T", source, "http://10.99.0.1/up3")
	m.sameFile(filepath.Join(m.Dir, "www", "up3"))
	run("-o", got, "-r", "0-999999", "http://10.99.0.1/big", "-o", got+"2", "http://10.99.0.1/big")
	whole := peer.Body(bodySize)
	if part, err := os.ReadFile(got); err != nil || string(part) != string(whole[:1_000_000]) {
		m.T.Errorf("a range brought %d bytes (%v)", len(part), err)
	}
	if out := run("-I", "http://10.99.0.1/big"); !strings.Contains(strings.ToLower(out), fmt.Sprintf("content-length: %d", bodySize)) {
		m.T.Errorf("HEAD: %s", out)
	}
	if out := run("--http1.0", "-w", "%{http_code}", "-o", "/dev/null", "http://10.99.0.1/small", "--no-fail"); out != "426" {
		m.T.Errorf("HTTP/1.0 was answered with %s, Envoy says 426", out)
	}
	m.Until(20*time.Second, "nothing is active", func() bool { return m.agent.Stats()["cluster.web.upstream_rq_active"] == 0 })
	grown := m.agent.Stats().Since(m.before)
	if n := grown["cluster.web.upstream_rq_total"]; n < 7 {
		m.T.Errorf("%d requests went upstream", n)
	}
	m.before = m.agent.Stats()
}

func (m *mesh) wrks(paths ...string) {
	m.T.Helper()
	for _, path := range paths {
		out := m.Run(60*time.Second, rig.Program{Args: []string{need(m.T.(*testing.T), "wrk", "wrk"), "-t2", "-c16", "-d2s", "http://10.99.0.1/" + path}})
		if strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
			m.T.Errorf("wrk met errors:\n%s", out)
		}
		if n := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(out); n == nil || n[1] == "0" {
			m.T.Errorf("wrk made no request:\n%s", out)
		}
	}
	m.carried("web", 32)
}
