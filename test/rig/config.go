// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// TCPService is a service address and its endpoints: one listener with tcp_proxy and one STATIC cluster, both named Name.
type TCPService struct {
	Name      string
	Address   string // "10.99.0.1:80"
	Bind      bool   // bind_to_port
	Policy    string // lb_policy; default ROUND_ROBIN
	Endpoints []string
	// MaxConnections is the circuit breaker; 0: Envoy's default.
	MaxConnections int
}

// Bootstrap is an Envoy bootstrap with those services.
func Bootstrap(services ...TCPService) string {
	var b strings.Builder
	b.WriteString("static_resources:\n  listeners:\n")
	for _, s := range services {
		b.WriteString(indent("  - ", s.Listener()))
	}
	b.WriteString("  clusters:\n")
	for _, s := range services {
		b.WriteString(indent("  - ", s.Cluster()))
	}
	return b.String()
}

// Watched writes a bootstrap whose listeners and clusters come from the watched files lds.yaml and cds.yaml of the rig's
// folder, and those files with Publish. It returns the bootstrap's path.
func (r *Rig) Watched(services ...TCPService) string {
	r.T.Helper()
	r.Publish(services...)
	return r.Write("bootstrap.yaml", fmt.Sprintf(`node: {id: test, cluster: test}
dynamic_resources:
  lds_config: {resource_api_version: V3, path_config_source: {path: %[1]q}}
  cds_config: {resource_api_version: V3, path_config_source: {path: %[2]q}}
`, filepath.Join(r.Dir, "lds.yaml"), filepath.Join(r.Dir, "cds.yaml")))
}

// Publish replaces the watched files by these services, clusters first.
func (r *Rig) Publish(services ...TCPService) {
	r.T.Helper()
	var lds, cds []string
	for _, s := range services {
		lds = append(lds, "\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n"+s.Listener())
		cds = append(cds, "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n"+s.Cluster())
	}
	r.Write("cds.yaml", Resources(cds...))
	r.Write("lds.yaml", Resources(lds...))
}

// Resources is a DiscoveryResponse of resources, each YAML that begins in the first column with its "@type".
func Resources(all ...string) string {
	var b strings.Builder
	b.WriteString("resources:")
	if len(all) == 0 {
		b.WriteString(" []")
	}
	b.WriteString("\n")
	for _, text := range all {
		b.WriteString(indent("- ", text))
	}
	return b.String()
}

// Listener is the service's listener as YAML that begins in the first column.
func (s TCPService) Listener() string {
	return fmt.Sprintf(`name: %s
address: %s
bind_to_port: %t
filter_chains:
- filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: %s
      cluster: %s
`, s.Name, address3(s.Address), s.Bind, s.Name, s.Name)
}

// Cluster is the service's cluster as YAML that begins in the first column.
func (s TCPService) Cluster() string {
	policy := s.Policy
	if policy == "" {
		policy = "ROUND_ROBIN"
	}
	breakers := ""
	if s.MaxConnections > 0 {
		breakers = fmt.Sprintf("circuit_breakers: {thresholds: [{max_connections: %d}]}\n", s.MaxConnections)
	}
	return fmt.Sprintf("name: %s\ntype: STATIC\nconnect_timeout: 5s\nlb_policy: %s\n%sload_assignment:\n%s",
		s.Name, policy, breakers, indentAll("  ", s.Assignment()))
}

// Assignment is the service's ClusterLoadAssignment as YAML that begins in the first column.
func (s TCPService) Assignment() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster_name: %s\nendpoints:\n- lb_endpoints:", s.Name)
	if len(s.Endpoints) == 0 {
		b.WriteString(" []")
	}
	b.WriteString("\n")
	for _, e := range s.Endpoints {
		fmt.Fprintf(&b, "  - endpoint: {address: %s}\n", address3(e))
	}
	return b.String()
}

// address3 is Envoy's core.v3.Address.
func address3(text string) string {
	a := netip.MustParseAddrPort(text)
	return fmt.Sprintf("{socket_address: {address: %q, port_value: %d}}", a.Addr(), a.Port())
}

// indent puts prefix before the first line and as many blanks before the others.
func indent(prefix, text string) string {
	blanks := strings.Repeat(" ", len(prefix))
	return prefix + strings.TrimPrefix(indentAll(blanks, text), blanks)
}

func indentAll(prefix, text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return prefix + strings.Join(lines, "\n"+prefix) + "\n"
}
