// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"
	"testing"

	"github.com/leno-mesh/leno/internal/mesh"
)

// What cannot be honoured in one chain closes that chain's connections; in a match it could be anybody's.
func TestRefusedChains(t *testing.T) {
	const (
		filters = `filters: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, cluster: a}}]`
		tls     = `transport_socket: {name: t, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: {}}}`
		plain   = "{" + filters + "}"
		secret  = "{filter_chain_match: {destination_port: 1}, " + tls + ", " + filters + "}"
		wide    = "{filter_chain_match: {destination_port: 2, prefix_ranges: [{address_prefix: 0.0.0.0}]}, " + filters + "}"
	)
	for _, tc := range []struct{ name, chains, want string }{
		{"none", "filter_chains: [" + plain + "]", "serves"},
		{"one of two", "filter_chains: [" + plain + ", " + secret + "]", "serves, closes"},
		{"the default", "filter_chains: [" + plain + "]\ndefault_filter_chain: " + secret, "serves, closes"},
		{"all", "filter_chains: [" + secret + "]\ndefault_filter_chain: " + secret, "tombstone"},
		{"the only one", "filter_chains: [" + secret + "]", "tombstone"},
		{"a match", "filter_chains: [" + plain + ", " + wide + "]", "tombstone"},
	} {
		n, err := parseText([]byte("name: l\naddress: {socket_address: {address: 127.0.0.1, port_value: 1}}\n" + tc.chains))
		if err != nil {
			t.Fatal(err)
		}
		l, f := (&reader{table: newTable()}).listener(n)
		if f.has(mesh.Rejected) {
			t.Fatalf("%s: %+v", tc.name, f.list)
		}
		if got := outline(l.listener); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func outline(l *mesh.Listener) string {
	if l.Tombstone != "" {
		return "tombstone"
	}
	var all []string
	for _, c := range l.All() {
		if c.Tombstone != "" {
			all = append(all, "closes")
		} else {
			all = append(all, "serves")
		}
	}
	return strings.Join(all, ", ")
}
