// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Not among the cases of TestCheck: Envoy 1.40 dies of it.
func TestProxyProtocolV1(t *testing.T) {
	f := &findings{}
	tcpCheck(&corev3.HealthCheck_TcpHealthCheck{ProxyProtocolConfig: &corev3.ProxyProtocolConfig{}}, "tcp_health_check", f)
	if len(f.list) != 1 || f.list[0].path != "tcp_health_check.proxy_protocol_config.version" {
		t.Errorf("found %v", f.list)
	}
}
