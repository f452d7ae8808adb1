// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/binary"
	"errors"
	"strings"
)

// clientHello is what a TLS client says of where it wants to go.
type clientHello struct {
	serverName string // in lower case; empty: not said
	protocols  []string
	alpn       bool // protocols were offered
}

var (
	errNotTLS     = errors.New("not a ClientHello")
	errHelloShort = errors.New("the ClientHello goes on")
	errVersion    = errors.New("a ClientHello of a version that is none of TLS 1.0 to 1.3")
	errTLSEnd     = errors.New("the client ends TLS before it began")
)

// Bounds of records and of the message, as the library has them that Envoy inspects with.
const (
	recordHead     = 5
	maxRecord      = 1<<14 + 256
	maxClientHello = 1 << 14
	maxEmpty       = 32 // empty records
	maxWarnings    = 4
)

// parseClientHello reads the ClientHello at the start of data, over as many records as it takes (RFC 8446 section 4.1.2).
// errHelloShort: more is needed to decide. errNotTLS: it is something else, or not well formed. With errVersion the server name
// is known. What extensions other than those of names and protocols hold is not looked at.
func parseClientHello(data []byte) (clientHello, error) {
	if len(data) >= recordHead && data[0]&0x80 != 0 && data[2] == messageClientHello && data[3] == 3 {
		return clientHello{}, oldHello(data)
	}
	message, err := handshakeMessage(data)
	if err != nil {
		return clientHello{}, err
	}
	r := tlsReader(message)
	version, ok := r.uint16()
	if !ok || !r.skip(32) {
		return clientHello{}, errNotTLS
	}
	session, ok := r.vector8()
	if !ok || len(session) > 32 {
		return clientHello{}, errNotTLS
	}
	suites, ok := r.vector16()
	if !ok || len(suites) < 2 || len(suites)%2 != 0 {
		return clientHello{}, errNotTLS
	}
	compression, ok := r.vector8()
	if !ok || len(compression) == 0 {
		return clientHello{}, errNotTLS
	}
	extensions := tlsReader{}
	if len(r) > 0 {
		if extensions, ok = r.vector16(); !ok || len(r) > 0 {
			return clientHello{}, errNotTLS
		}
	}
	h, err := helloExtensions(extensions)
	if err == nil {
		err = checkVersion(version)
	}
	return h, err
}

func checkVersion(v uint16) error {
	if v < 0x0301 || v > 0x0304 {
		return errVersion
	}
	return nil
}

// oldHello reads a ClientHello in the form of SSL 2, which clients that also knew that one sent (RFC 5246 appendix E.2). It
// names nobody.
func oldHello(data []byte) error {
	const most = 4 << 10
	length := int(binary.BigEndian.Uint16(data) & 0x7fff)
	switch {
	case length > most || length < 3:
		return errNotTLS
	case len(data) < 2+length:
		return errHelloShort
	}
	r := tlsReader(data[3 : 2+length])
	version, ok := r.uint16()
	suites, ok2 := r.uint16()
	session, ok3 := r.uint16()
	challenge, ok4 := r.uint16()
	if !ok || !ok2 || !ok3 || !ok4 || len(r) != int(suites)+int(session)+int(challenge) || suites%3 != 0 {
		return errNotTLS
	}
	for known := r[:suites]; len(known) > 0; known = known[3:] {
		if known[0] == 0 { // a suite of TLS
			return checkVersion(version)
		}
	}
	return errNotTLS
}

// handshakeMessage puts the first handshake message together, which must be a ClientHello that ends with its record.
func handshakeMessage(data []byte) ([]byte, error) {
	var message []byte
	for empty, warnings := 0, 0; empty <= maxEmpty && warnings <= maxWarnings; {
		if len(data) < recordHead {
			return nil, errHelloShort
		}
		kind, length := data[0], int(binary.BigEndian.Uint16(data[3:]))
		if kind != recordHandshake && kind != recordAlert || data[1] != 3 || length > maxRecord {
			return nil, errNotTLS
		}
		if len(data) < recordHead+length {
			return nil, errHelloShort
		}
		record := data[recordHead : recordHead+length]
		data = data[recordHead+length:]
		switch {
		case length == 0:
			empty++
			continue
		case kind == recordAlert && length == 2 && record[0] == alertWarning && record[1] == alertClose:
			return nil, errTLSEnd
		case kind == recordAlert && length == 2 && record[0] == alertWarning:
			warnings++
			continue
		case kind == recordAlert:
			return nil, errNotTLS
		}
		message = append(message, record...)
		if len(message) < 4 {
			continue
		}
		whole := int(binary.BigEndian.Uint32(message) & 0xffffff)
		if message[0] != messageClientHello || whole > maxClientHello || len(message) > 4+whole {
			return nil, errNotTLS
		}
		if len(message) == 4+whole {
			return message[4:], nil
		}
	}
	return nil, errNotTLS
}

const (
	recordAlert        = 21
	recordHandshake    = 22
	messageClientHello = 1
	alertWarning       = 1
	alertClose         = 0
)

const (
	extensionServerName = 0
	extensionALPN       = 16
)

func helloExtensions(r tlsReader) (clientHello, error) {
	var h clientHello
	seen := map[uint16]bool{}
	for len(r) > 0 {
		id, ok := r.uint16()
		body, ok2 := r.vector16()
		if !ok || !ok2 || seen[id] {
			return clientHello{}, errNotTLS
		}
		seen[id] = true
		switch id {
		case extensionServerName:
			if h.serverName, ok = serverName(body); !ok {
				return clientHello{}, errNotTLS
			}
		case extensionALPN:
			h.protocols, h.alpn = protocols(body) // one that is not well formed is none
		}
	}
	return h, nil
}

// serverName takes the one name that a list may hold.
func serverName(r tlsReader) (string, bool) {
	list, ok := r.vector16()
	if !ok || len(r) > 0 {
		return "", false
	}
	kind, ok := list.uint8()
	if !ok || kind != 0 {
		return "", false
	}
	name, ok := list.vector16()
	if !ok || len(list) > 0 || len(name) == 0 || len(name) > 255 || strings.IndexByte(string(name), 0) >= 0 {
		return "", false
	}
	return strings.ToLower(string(name)), true
}

func protocols(r tlsReader) ([]string, bool) {
	list, ok := r.vector16()
	if !ok || len(r) > 0 || len(list) < 2 {
		return nil, false
	}
	var all []string
	for len(list) > 0 {
		name, ok := list.vector8()
		if !ok || len(name) == 0 {
			return nil, false
		}
		all = append(all, string(name))
	}
	return all, true
}

// tlsReader takes values off the front of a message in TLS's presentation language.
type tlsReader []byte

func (r *tlsReader) skip(n int) bool {
	if len(*r) < n {
		return false
	}
	*r = (*r)[n:]
	return true
}

func (r *tlsReader) uint8() (uint8, bool) {
	b := *r
	if !r.skip(1) {
		return 0, false
	}
	return b[0], true
}

func (r *tlsReader) uint16() (uint16, bool) {
	b := *r
	if !r.skip(2) {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

func (r *tlsReader) vector8() (tlsReader, bool) {
	n, ok := r.uint8()
	b := *r
	if !ok || !r.skip(int(n)) {
		return nil, false
	}
	return b[:n], true
}

func (r *tlsReader) vector16() (tlsReader, bool) {
	n, ok := r.uint16()
	b := *r
	if !ok || !r.skip(int(n)) {
		return nil, false
	}
	return b[:n], true
}
