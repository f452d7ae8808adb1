// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Split is how requests are to be shared between version one and version two, in percent.
type Split struct{ V1, V2 int }

func (s Split) String() string { return fmt.Sprintf("%d/%d", s.V1, s.V2) }

// files are the configuration in one folder: a bootstrap that names the others, which leno watches.
type files struct {
	dir string
	// http and tcp are the mesh's addresses; servers are the versions' own.
	http, tcp netip.AddrPort
	servers   map[string]netip.AddrPort
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

// write puts all files there, with the first split.
func (f files) write(s Split) error {
	if err := f.put("bootstrap.yaml", f.bootstrap()); err != nil {
		return err
	}
	if err := f.put("clusters.yaml", f.clusters()); err != nil {
		return err
	}
	for _, name := range serverNames {
		if err := f.put(name+".yaml", f.endpoints(name)); err != nil {
			return err
		}
	}
	return f.move(s)
}

// move edits the split of both services.
func (f files) move(s Split) error {
	if err := f.put("listeners.yaml", f.listeners(s)); err != nil {
		return err
	}
	return f.put("routes.yaml", f.routes(s))
}

// put replaces a file by renaming a new one over it, so that no reader meets half of it.
func (f files) put(name, text string) error {
	tmp := f.path("." + name + ".new")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	if err := os.Rename(tmp, f.path(name)); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	return nil
}

func (f files) bootstrap() string {
	return fmt.Sprintf(`# leno demo: everything that changes lies in the files that this one names.
node: { id: demo, cluster: demo }
dynamic_resources:
  lds_config: { path_config_source: { path: %q } }
  cds_config: { path_config_source: { path: %q } }
`, f.path("listeners.yaml"), f.path("clusters.yaml"))
}

// routes is the HTTP service's split. The header tells the client which edit carried its request.
func (f files) routes(s Split) string {
	return fmt.Sprintf(`# The HTTP service: change the weights (their sum need not be 100) and save.
resources:
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: shop
  virtual_hosts:
  - name: shop
    domains: ["*"]
    routes:
    - match: { prefix: / }
      route:
        weighted_clusters:
          clusters:
          - { name: http-v1, weight: %d }
          - { name: http-v2, weight: %d }
      response_headers_to_add:
      - header: { key: %s, value: %q }
        append_action: OVERWRITE_IF_EXISTS_OR_ADD
`, s.V1, s.V2, headerSplit, s.String())
}

func (f files) listeners(s Split) string {
	return fmt.Sprintf(`resources:
# The HTTP service; its routes are in routes.yaml.
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: shop
  address: { socket_address: { address: %s, port_value: %d } }
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: shop
        rds: { route_config_name: shop, config_source: { path_config_source: { path: %q } } }
        http_filters:
        - name: envoy.filters.http.router
          typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
# The TCP service: change the weights and save.
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: lines
  address: { socket_address: { address: %s, port_value: %d } }
  filter_chains:
  - filters:
    - name: envoy.filters.network.tcp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: lines
        weighted_clusters:
          clusters:
%s`, f.http.Addr(), f.http.Port(), f.path("routes.yaml"), f.tcp.Addr(), f.tcp.Port(), tcpWeights(s))
}

// tcpWeights leaves out a share of nothing: Envoy takes no weight 0 there, unlike in routes.
func tcpWeights(s Split) string {
	text := ""
	for _, w := range []struct {
		name   string
		weight int
	}{{"tcp-v1", s.V1}, {"tcp-v2", s.V2}} {
		if w.weight > 0 {
			text += fmt.Sprintf("          - { name: %s, weight: %d }\n", w.name, w.weight)
		}
	}
	return text
}

func (f files) clusters() string {
	text := "resources:\n"
	for _, name := range serverNames {
		text += fmt.Sprintf(`- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: %s
  type: EDS
  connect_timeout: 1s
  eds_cluster_config: { eds_config: { path_config_source: { path: %q } } }
`, name, f.path(name+".yaml"))
	}
	return text
}

// endpoints is one cluster's file: Envoy takes no more than one assignment from each.
func (f files) endpoints(name string) string {
	a := f.servers[name]
	return fmt.Sprintf(`resources:
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: %s
  endpoints:
  - lb_endpoints:
    - endpoint: { address: { socket_address: { address: %s, port_value: %d } } }
`, name, a.Addr(), a.Port())
}

// serverNames are the four server processes, which are also the names of their clusters.
var serverNames = [...]string{"http-v1", "http-v2", "tcp-v1", "tcp-v2"}
