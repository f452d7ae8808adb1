// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"strings"
)

// envoyFile is the bootstrap that Envoy and leno both get.
func envoyFile(_ string, routes []route) string {
	var listeners, clusters strings.Builder
	for i, r := range routes {
		name := fmt.Sprintf("r%d", i)
		fmt.Fprintf(&listeners, "  - name: %s\n    address: %s\n    filter_chains:\n    - filters:\n", name, socketAddress(local(r.Port)))
		if r.HTTP {
			fmt.Fprintf(&listeners, `      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: %[1]s
          route_config: { name: %[1]s, virtual_hosts: [ { name: all, domains: ["*"], routes: [ { match: { prefix: / }, route: { cluster: %[1]s } } ] } ] }
          http_filters: [ { name: envoy.filters.http.router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ]
`, name)
		} else {
			listeners.WriteString(tcpProxy("      ", name, name))
		}
		clusters.WriteString(staticCluster(name, r.Upstream))
	}
	return "static_resources:\n  listeners:\n" + listeners.String() + "  clusters:\n" + clusters.String()
}

func tcpProxy(indent, statPrefix, cluster string) string {
	return fmt.Sprintf(`%[1]s- name: envoy.filters.network.tcp_proxy
%[1]s  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: %[2]s, cluster: %[3]s }
`, indent, statPrefix, cluster)
}

func staticCluster(name string, endpoints ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: %[1]s\n    type: STATIC\n    connect_timeout: 5s\n    load_assignment:\n      cluster_name: %[1]s\n      endpoints:\n      - lb_endpoints:\n", name)
	for _, e := range endpoints {
		fmt.Fprintf(&b, "        - endpoint: { address: %s }\n", socketAddress(e))
	}
	return b.String()
}

func socketAddress(at string) string {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		// All addresses are made in this program.
		panic(err)
	}
	return fmt.Sprintf("{ socket_address: { address: %s, port_value: %s } }", host, port)
}
