// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"encoding/hex"
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/leno-mesh/leno/internal/mesh"
)

// healthCheck reads how hosts are tried; nil: they are not.
func healthCheck(all []*corev3.HealthCheck, f *findings) *mesh.HealthCheck {
	if len(all) == 0 {
		return nil
	}
	if len(all) > 1 {
		f.refused("health_checks", "has %d members, and leno accepts one", len(all))
	}
	p, path := all[0], at("health_checks", 0)
	in := func(field string) string { return join(path, field) }
	wait := func(d *durationpb.Duration, absent time.Duration, field string) time.Duration {
		return duration(d, absent, in(field), f)
	}
	h := &mesh.HealthCheck{
		Name:                  p.GetName(),
		Timeout:               wait(p.GetTimeout(), 0, "timeout"),
		Interval:              wait(p.GetInterval(), 0, "interval"),
		InitialJitter:         wait(p.GetInitialJitter(), 0, "initial_jitter"),
		IntervalJitter:        wait(p.GetIntervalJitter(), 0, "interval_jitter"),
		IntervalJitterPercent: p.GetIntervalJitterPercent(),
		UnhealthyThreshold:    p.GetUnhealthyThreshold().GetValue(),
		HealthyThreshold:      p.GetHealthyThreshold().GetValue(),
		NoTrafficInterval:     wait(p.GetNoTrafficInterval(), time.Minute, "no_traffic_interval"),
		ReuseConnection:       p.GetReuseConnection() == nil || p.GetReuseConnection().GetValue(),
	}
	h.NoTrafficHealthyInterval = wait(p.GetNoTrafficHealthyInterval(), h.NoTrafficInterval, "no_traffic_healthy_interval")
	h.UnhealthyInterval = wait(p.GetUnhealthyInterval(), h.Interval, "unhealthy_interval")
	h.UnhealthyEdgeInterval = wait(p.GetUnhealthyEdgeInterval(), h.UnhealthyInterval, "unhealthy_edge_interval")
	h.HealthyEdgeInterval = wait(p.GetHealthyEdgeInterval(), h.Interval, "healthy_edge_interval")
	switch k := p.GetHealthChecker().(type) {
	case *corev3.HealthCheck_HttpHealthCheck_:
		h.HTTP = httpCheck(k.HttpHealthCheck, in("http_health_check"), f)
	case *corev3.HealthCheck_TcpHealthCheck_:
		h.TCP = tcpCheck(k.TcpHealthCheck, in("tcp_health_check"), f)
	}
	return h
}

func httpCheck(p *corev3.HealthCheck_HttpHealthCheck, path string, f *findings) *mesh.HTTPCheck {
	h := &mesh.HTTPCheck{
		Method:     "GET",
		Path:       p.GetPath(),
		Host:       p.GetHost(),
		Headers:    headerOps(p.GetRequestHeadersToAdd(), p.GetRequestHeadersToRemove(), join(path, "request_headers_to_add"), join(path, "request_headers_to_remove"), f),
		Receive:    payloads(p.GetReceive(), join(path, "receive"), f),
		BufferSize: 1024,
		Expected:   statuses(p.GetExpectedStatuses(), join(path, "expected_statuses"), f),
		Retriable:  statuses(p.GetRetriableStatuses(), join(path, "retriable_statuses"), f),
	}
	noCommands(h.Headers.Add, join(path, "request_headers_to_add"), f)
	if len(h.Expected) == 0 {
		h.Expected = []mesh.Range{{Start: 200, End: 201}}
	}
	if p.GetMethod() != corev3.RequestMethod_METHOD_UNSPECIFIED {
		h.Method = p.GetMethod().String()
	}
	if p.GetSend() != nil {
		h.Body = payload(p.GetSend(), join(path, "send"), f)
		switch h.Method {
		case "GET", "HEAD", "DELETE", "TRACE":
			f.invalid(join(path, "send"), "has no place in a request with method %s", h.Method)
		}
	}
	if b := p.GetResponseBufferSize(); b != nil {
		h.BufferSize = b.GetValue()
	}
	sum := 0
	for _, b := range h.Receive {
		sum += len(b)
	}
	if h.BufferSize != 0 && uint64(sum) > h.BufferSize {
		f.invalid(join(path, "receive"), "is longer than response_buffer_size")
	}
	if m := p.GetServiceNameMatcher(); m != nil {
		if s, ok := stringMatch(m, join(path, "service_name_matcher"), f); ok {
			h.ServiceName = &s
		}
	}
	if c := p.GetCodecClientType(); c != typev3.CodecClientType_HTTP1 {
		f.refused(join(path, "codec_client_type"), "%s is not spoken to upstreams: leno accepts HTTP1", c)
	}
	return h
}

func tcpCheck(p *corev3.HealthCheck_TcpHealthCheck, path string, f *findings) *mesh.TCPCheck {
	t := &mesh.TCPCheck{Receive: payloads(p.GetReceive(), join(path, "receive"), f)}
	if p.GetSend().GetText() != "" {
		t.Send = payload(p.GetSend(), join(path, "send"), f)
	} else if len(p.GetSend().GetBinary()) > 0 {
		f.refused(join(path, "send.binary"), "is not supported: Envoy does not send it; give text")
	}
	if pp := p.GetProxyProtocolConfig(); pp != nil {
		if v := pp.GetVersion(); v != corev3.ProxyProtocolConfig_V2 {
			f.refused(join(path, "proxy_protocol_config.version"), "%s is not supported (Envoy 1.40 ends over it): leno accepts V2", v)
		}
		t.Send = append([]byte(proxyLocal), t.Send...)
	}
	return t
}

// proxyLocal is a PROXY header of version 2 that says of nobody that he connects (command LOCAL).
const proxyLocal = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"

// payloads reads texts; empty ones say nothing.
func payloads(list []*corev3.HealthCheck_Payload, path string, f *findings) [][]byte {
	var all [][]byte
	for i, p := range list {
		if b := payload(p, at(path, i), f); len(b) > 0 {
			all = append(all, b)
		}
	}
	return all
}

func payload(p *corev3.HealthCheck_Payload, path string, f *findings) []byte {
	if _, binary := p.GetPayload().(*corev3.HealthCheck_Payload_Binary); binary {
		return p.GetBinary()
	}
	b, err := hex.DecodeString(p.GetText())
	if err != nil {
		f.invalid(join(path, "text"), "must be hexadecimal digits, two for each byte")
	}
	return b
}

// statuses reads ranges of statuses.
func statuses(list []*typev3.Int64Range, path string, f *findings) []mesh.Range {
	var all []mesh.Range
	for i, r := range list {
		if r.GetStart() < 100 || r.GetEnd() > 600 || r.GetStart() >= r.GetEnd() {
			f.invalid(at(path, i), "must have a start of at least 100, an end of at most 600, and hold a status")
		}
		all = append(all, mesh.Range{Start: r.GetStart(), End: r.GetEnd()})
	}
	return all
}

// endpointCheck reads what an endpoint says of its checks.
func endpointCheck(p *endpointv3.Endpoint_HealthCheckConfig, path string, f *findings) mesh.EndpointCheck {
	e := mesh.EndpointCheck{Disabled: p.GetDisableActiveHealthCheck(), Host: p.GetHostname(), Port: uint16(p.GetPortValue())}
	if p.GetPortValue() > 65535 {
		f.invalid(join(path, "port_value"), "must be at most 65535")
	}
	sa := p.GetAddress().GetSocketAddress()
	if sa == nil {
		return e // another kind is refused by the table
	}
	path = join(path, "address.socket_address")
	tcpOnly(sa, path, f)
	ip, err := netip.ParseAddr(sa.GetAddress())
	switch {
	case err != nil:
		f.invalid(join(path, "address"), "must be an IP address, not %q", sa.GetAddress())
	case ip.Zone() != "":
		f.refused(join(path, "address"), "an address with a zone is not supported")
	}
	e.Address = ip.Unmap()
	if e.Port == 0 { // port_value comes before it
		e.Port = uint16(sa.GetPortValue())
	}
	if e.Port == 0 {
		f.refused(join(path, "port_value"), "0 is not supported: name the port")
	}
	return e
}
