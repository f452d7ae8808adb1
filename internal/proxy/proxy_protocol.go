// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
)

// proxyProtocol takes a PROXY header off a connection and believes it (Envoy: filters/listener/proxy_protocol).
type proxyProtocol struct {
	config *mesh.ProxyProtocol
	stats  *proxyProtocolStats
}

type proxyProtocolStats struct {
	allowed, refused counter // connections without a header
	v1, v2           proxyVersionStats
	errors           counter
}

type proxyVersionStats struct{ found, errors, disallowed counter }

const (
	proxyV1Signature = "PROXY "
	proxyV2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV2Head      = 16
	proxyV1Most      = 108
)

func (p *proxyProtocol) most() int { return proxyV2Head + 1<<16 }

func (p *proxyProtocol) look(data []byte, a *arrival) (judgement, int) {
	begins := func(signature string) bool {
		n := min(len(data), len(signature))
		return string(data[:n]) == signature[:n]
	}
	if p.config.Optional && (p.config.NoV2 || !begins(proxyV2Signature)) && (p.config.NoV1 || !begins(proxyV1Signature)) {
		p.stats.allowed.Add(1)
		return goAhead, 0
	}
	v2 := len(data) >= proxyV2Head && begins(proxyV2Signature)
	endless := len(data) > proxyV1Most && !bytes.Contains(data, []byte("\r\n"))
	if !v2 && (endless || len(data) >= proxyV2Head && !begins(proxyV1Signature)) {
		p.stats.refused.Add(1)
		p.stats.errors.Add(1)
		return turnOff, 0
	}
	version, no, parse := &p.stats.v1, p.config.NoV1, parseProxyV1
	if v2 {
		version, no, parse = &p.stats.v2, p.config.NoV2, parseProxyV2
	}
	h, size, end := parse(data)
	switch {
	case no && (v2 || end != wait):
		version.found.Add(1)
		version.disallowed.Add(1)
		return turnOff, 0
	case end == turnOff:
		version.errors.Add(1)
		p.stats.errors.Add(1)
	case end == goAhead:
		version.found.Add(1)
		if h.named {
			a.remote, a.local = h.source, h.destination
		}
	}
	return end, size
}

// proxyHeader is what a PROXY header says.
type proxyHeader struct {
	named               bool // it names the ends
	source, destination netip.AddrPort
}

func (h *proxyHeader) valid() bool {
	return !h.named || unicast(h.source.Addr()) && unicast(h.destination.Addr())
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func unicast(a netip.Addr) bool { return !a.IsUnspecified() && !a.IsMulticast() && a != broadcast }

// parseProxyV1 reads a line of text; size is its length.
func parseProxyV1(data []byte) (h proxyHeader, size int, end judgement) {
	at := bytes.Index(data, []byte("\r\n"))
	switch {
	case at >= proxyV1Most-1:
		return h, 0, turnOff
	case at <= 0: // a line end comes first in the other version's signature
		return h, 0, wait
	}
	words := strings.Split(strings.TrimRight(string(data[:at]), " \t\n\v\f\r"), " ")
	if len(words) < 2 || words[0] != "PROXY" {
		return h, 0, turnOff
	}
	if words[1] == "UNKNOWN" {
		return h, at + 2, goAhead
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return h, 0, turnOff
	}
	var ok, ok2 bool
	h.named = true
	h.source, ok = proxyAddress(words[2], words[4], words[1] == "TCP4")
	h.destination, ok2 = proxyAddress(words[3], words[5], words[1] == "TCP4")
	if !ok || !ok2 || !h.valid() {
		return h, 0, turnOff
	}
	return h, at + 2, goAhead
}

func proxyAddress(address, port string, v4 bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(address)
	n, err2 := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(n)), err == nil && err2 == nil && a.Is4() == v4 && a.Zone() == ""
}

// parseProxyV2 reads the binary form; data holds its head at least.
func parseProxyV2(data []byte) (h proxyHeader, size int, end judgement) {
	version, command := data[12]>>4, data[12]&15
	family, transport := data[13]>>4, data[13]&15
	length := int(binary.BigEndian.Uint16(data[14:]))
	size = proxyV2Head + length
	if version != 2 {
		return h, 0, turnOff
	}
	if command == 0 { // LOCAL: whatever follows is not looked at
		if len(data) < size {
			return h, 0, wait
		}
		return h, size, goAhead
	}
	bytes, known := map[byte]int{1: 4, 2: 16}[family]
	if !known || length < 2*bytes+4 {
		return h, 0, turnOff
	}
	body := data[proxyV2Head:]
	if len(body) < 2*bytes+4 {
		return h, 0, wait
	}
	if command != 1 || transport != 1 && transport != 2 {
		return h, 0, turnOff
	}
	if len(data) < size {
		return h, 0, wait
	}
	source, _ := netip.AddrFromSlice(body[:bytes])
	destination, _ := netip.AddrFromSlice(body[bytes : 2*bytes])
	ports := body[2*bytes:]
	h = proxyHeader{named: true, source: netip.AddrPortFrom(source, binary.BigEndian.Uint16(ports)),
		destination: netip.AddrPortFrom(destination, binary.BigEndian.Uint16(ports[2:]))}
	if !proxyValues(body[2*bytes+4:length]) || !h.valid() {
		return h, 0, turnOff
	}
	return h, size, goAhead
}

// proxyValues checks the framing of the values behind the addresses.
func proxyValues(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 3 {
			return false
		}
		n := 3 + int(binary.BigEndian.Uint16(b[1:]))
		if len(b) < n {
			return false
		}
		b = b[n:]
	}
	return true
}
