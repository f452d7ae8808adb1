// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
)

// Framing says how the end of a body is found (RFC 9112 section 6.3).
type Framing int

const (
	None       Framing = iota
	Length             // Content-Length
	Chunked            // Transfer-Encoding: chunked
	UntilClose         // responses only
)

// Request is a head from a client, as Envoy's codec hands it on: the host is a field, an absolute target is taken apart.
type Request struct {
	Method string
	// Path is the target with its query; empty for CONNECT.
	Path string
	// Scheme is what an absolute target said; empty otherwise.
	Scheme  string
	Header  Header
	Framing Framing
	Length  int64 // of Framing Length
	// Close: the client does not want to use the connection again.
	Close bool
	// Upgrade is the wanted protocol, in the client's spelling; empty: none.
	Upgrade string
}

// Response is a head from a server.
type Response struct {
	Status  int
	Header  Header
	Framing Framing
	Length  int64
	// Close: the connection may not be used again.
	Close bool
}

// span is where a field lies in its block.
type span struct{ name, nameEnd, value, valueEnd int }

// methods are those that Envoy's parser knows (balsa_parser.cc, isMethodValid).
var methods = map[string]bool{"ACL": true, "BIND": true, "CHECKOUT": true, "CONNECT": true, "COPY": true, "DELETE": true, "GET": true,
	"HEAD": true, "LINK": true, "LOCK": true, "MERGE": true, "MKACTIVITY": true, "MKCALENDAR": true, "MKCOL": true, "MOVE": true,
	"MSEARCH": true, "NOTIFY": true, "OPTIONS": true, "PATCH": true, "POST": true, "PROPFIND": true, "PROPPATCH": true, "PURGE": true,
	"PUT": true, "REBIND": true, "REPORT": true, "SEARCH": true, "SOURCE": true, "SUBSCRIBE": true, "TRACE": true, "UNBIND": true,
	"UNLINK": true, "UNLOCK": true, "UNSUBSCRIBE": true}

// ReadRequest reads the next head into m, which keeps its memory. limit bounds the head in bytes, fields the number of its
// fields. With read false only what is buffered is looked at (ErrWait if that is not a whole head). Errors are *Error for
// what the client did wrong, io.EOF for an end before the first byte, or the source's.
func (r *Reader) ReadRequest(m *Request, limit, fields int, read bool) error {
	block, err := r.head(limit, checkRequestLine, read, true)
	if err != nil {
		return err
	}
	start, err := r.parse(block, &m.Header, fields)
	if err != nil {
		return err
	}
	r.consumed(len(block))
	method, target, version := words(start)
	m.Method, m.Scheme, m.Upgrade, m.Close = method, "", "", false
	return m.complete(target, version)
}

// checkRequestLine refuses what cannot become a request, from its first byte on.
func checkRequestLine(line []byte, whole bool) error {
	if !whole {
		if line[0] < 'A' || line[0] > 'U' || contains("EFIJKQ", line[0]) {
			return bad("no method begins with byte 0x%02x", line[0])
		}
		return nil
	}
	method, target, version := words(line)
	switch {
	case !methods[string(method)]:
		return bad("method %q", method)
	case !targetValid(string(target), string(method) == "CONNECT"):
		return bad("target %q", target)
	case !versionValid(string(version)):
		return bad("version %q", version)
	case len(version) == 0: // HTTP/0.9: nothing more belongs to it
		m := Request{Method: string(method)}
		if err := m.takeTarget(string(target), m.Method == "CONNECT"); err != nil {
			return err
		}
		return oldVersion("")
	}
	return nil
}

func oldVersion(version string) error {
	return &Error{Status: 426, What: "HTTP version " + strconv.Quote(version), Details: "low_version"}
}

// words splits a start line at white space; the third word is the rest of the line.
func words[S string | []byte](line S) (a, b, c S) {
	next := func() S {
		i := 0
		for i < len(line) && line[i] != ' ' && line[i] != '\t' {
			i++
		}
		w := line[:i]
		for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
			i++
		}
		line = line[i:]
		return w
	}
	a, b = next(), next()
	end := len(line)
	for end > 0 && (line[end-1] == ' ' || line[end-1] == '\t') {
		end--
	}
	return a, b, line[:end]
}

// versionValid: empty is HTTP/0.9.
func versionValid(v string) bool {
	return v == "" || len(v) == 8 && v[:5] == "HTTP/" && v[5] >= '0' && v[5] <= '9' && v[6] == '.' && v[7] >= '0' && v[7] <= '9'
}

// targetValid holds the rules of Envoy's isUrlValid, which are those of the http-parser library.
func targetValid(t string, connect bool) bool {
	if t == "" {
		return false
	}
	if t[0] == '/' || t[0] == '*' {
		return all(t[1:], isTarget)
	}
	if !connect {
		scheme, rest, ok := strings.Cut(t, "://")
		if !ok || scheme == "" {
			return false
		}
		for i := range len(scheme) {
			c := scheme[i] | 0x20
			if letter := c >= 'a' && c <= 'z'; !letter && (i == 0 || !contains("0123456789+-.", scheme[i])) {
				return false
			}
		}
		t = rest
	}
	host, path := t, ""
	if i := strings.IndexAny(t, "/?"); i >= 0 {
		host, path = t[:i], t[i:]
	}
	return all(host, isAuthority) && !strings.Contains(host, "@@") && all(path, isTarget)
}

// parse turns the lines behind the start line into fields. block is changed: names become lower case.
func (r *Reader) parse(block []byte, h *Header, limit int) (start string, err error) {
	r.spans = r.spans[:0]
	lineEnd := bytes.IndexByte(block, '\n')
	odd := false // some value needs bytes taken out
	for at := lineEnd + 1; ; {
		end := at + bytes.IndexByte(block[at:], '\n')
		line := trimCR(block[at:end])
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(r.spans) == 0 {
				return "", bad("the first field line begins with white space")
			}
			r.spans[len(r.spans)-1].valueEnd = at + len(line)
			odd = true
			at = end + 1
			continue
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return "", bad("field line %q has no name or no colon", line)
		}
		for i, c := range line[:colon] {
			if class[c]&isToken == 0 {
				return "", badName(line[:colon])
			}
			if c >= 'A' && c <= 'Z' {
				line[i] = c | 0x20
			}
		}
		r.spans = append(r.spans, span{at, at + colon, at + colon + 1, at + len(line)})
		at = end + 1
	}
	text := string(block)
	h.Fields = h.Fields[:0]
	for _, s := range r.spans {
		value := strings.Trim(text[s.value:s.valueEnd], " \t\r\n")
		if odd || strings.IndexByte(value, '\r') >= 0 {
			whole := len(value)
			if value = dropLineEnds.Replace(value); len(value) != whole && text[s.name:s.nameEnd] == "transfer-encoding" && strings.EqualFold(value, "chunked") {
				return "", bad("line end within transfer-encoding") // who reads what is left as "chunked" may not be followed by who does not
			}
		}
		if !all(value, isValue) {
			return "", as("http1.invalid_characters", bad("value of field %q", text[s.name:s.nameEnd]))
		}
		if value == "" && text[s.name:s.nameEnd] == "content-length" {
			return "", bad("empty content-length") // which would vanish beside another one
		}
		h.Add(text[s.name:s.nameEnd], value)
		if len(h.Fields) > limit { // fields that were joined count as one, as in Envoy
			return "", &Error{Status: 431, What: "more fields than max_headers_count", Details: "http1.too_many_headers"}
		}
	}
	return text[:len(trimCR(block[:lineEnd]))], nil
}

// badName is a field name that is none. White space in it is found by Envoy's parser, anything else later.
func badName(name []byte) error {
	err := bad("field name %q", name)
	if bytes.ContainsAny(name, " \t") {
		return err
	}
	return as("http1.invalid_characters", err)
}

// dropLineEnds is what Envoy does to folded values and lone CRs.
var dropLineEnds = strings.NewReplacer("\r", "", "\n", "")

// complete applies the rules of the whole head (Envoy: http1/codec_impl.cc, onHeadersCompleteImpl and handlePath).
func (m *Request) complete(target, version string) error {
	connect := m.Method == "CONNECT"
	h := &m.Header
	m.takeUpgrade()
	var err error
	if m.Framing, m.Length, err = framing(h); err != nil {
		return err
	}
	if connect && (m.Framing == Chunked || m.Length > 0) {
		return as("http1.body_disallowed", bad("CONNECT with a body"))
	}
	m.Close = h.HasToken("connection", "close") || h.HasToken("proxy-connection", "close")
	if err := m.takeTarget(target, connect); err != nil {
		return err
	}
	if err := h.dropNominated(); err != nil {
		return err
	}
	if version != "HTTP/1.1" { // all of the above is wrong in any version
		return oldVersion(version)
	}
	if !all(h.Value("host"), isAuthority) {
		return as("http.invalid_authority", bad("host %q", h.Value("host")))
	}
	return nil
}

func (m *Request) takeTarget(target string, connect bool) error {
	switch {
	case connect:
		m.Path = ""
		if target[0] == '/' || target[0] == '*' {
			return as("http1.invalid_url", bad("CONNECT to %q", target))
		}
		m.Header.Set("host", target)
		return nil
	case target[0] == '/' || target[0] == '*' && m.Method == "OPTIONS":
		m.Path = target
		return nil
	case target[0] == '*':
		return as("http1.invalid_url", bad("target %q", target))
	}
	scheme, rest, _ := strings.Cut(target, "://")
	m.Scheme = strings.ToLower(scheme)
	if m.Scheme != "http" && m.Scheme != "https" {
		return as("http1.invalid_scheme", bad("scheme of target %q", target))
	}
	host, path := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host == "" {
		return as("http1.invalid_url", bad("host of target %q", target))
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return as("http1.invalid_url", bad("port of target %q", target))
	}
	if name := u.Hostname(); u.Host[0] != '[' && !all(name, isHostName) {
		return bad("host of target %q", target)
	}
	m.Path = path
	m.Header.Set("host", u.Host) // without a user
	return nil
}

// takeUpgrade finds the wanted protocol; one to HTTP/2 is taken out, as Envoy does not follow it.
func (m *Request) takeUpgrade() {
	h := &m.Header
	up, ok := h.Get("upgrade")
	if !ok || !h.HasToken("connection", "upgrade") {
		return
	}
	if up == "" {
		m.Upgrade = " " // one that nobody allows
		return
	}
	if strings.EqualFold(up, "h2c") {
		h.Del("upgrade")
		h.Del("http2-settings")
		h.dropTokens("connection", map[string]bool{"upgrade": true, "http2-settings": true})
		return
	}
	m.Upgrade = up
}

// framing reads Content-Length and Transfer-Encoding of either direction.
func framing(h *Header) (Framing, int64, error) {
	length, hasLength := h.Get("content-length")
	coding, hasCoding := h.Get("transfer-encoding")
	var n int64
	if hasLength {
		var err error
		if n, err = strconv.ParseInt(length, 10, 64); err != nil || length[0] < '0' || length[0] > '9' {
			return 0, 0, bad("content-length %q", length) // two of them were joined: not a number
		}
	}
	switch {
	case hasCoding && hasLength:
		return 0, 0, as("http1.content_length_and_chunked_not_allowed", bad("both content-length and transfer-encoding"))
	case hasCoding && !strings.EqualFold(coding, "chunked"):
		return 0, 0, &Error{Status: 501, What: "transfer-encoding " + strconv.Quote(coding), Details: "http1.invalid_transfer_encoding"}
	case hasCoding:
		return Chunked, 0, nil
	case hasLength:
		return Length, n, nil
	}
	return None, 0, nil
}

// dropNominated removes the fields that Connection names (Envoy: http/utility.cc, sanitizeConnectionHeader).
func (h *Header) dropNominated() error {
	const maxNominated = 10
	v, ok := h.Get("connection")
	if !ok {
		return nil
	}
	if strings.Count(v, ",")+1 >= maxNominated {
		return as("http1.connection_header_rejected", bad("connection names %d fields or more", maxNominated))
	}
	drop := map[string]bool{}
	for word := range strings.SplitSeq(v, ",") {
		switch name := strings.ToLower(strings.Trim(word, " \t")); name {
		case "", "close", "http2-settings", "keep-alive", "upgrade", "connection":
		case "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto":
			return as("http1.connection_header_rejected", bad("connection names %s", name))
		case "te":
			if h.keepTrailersOnly(); !h.Has("te") {
				drop[name] = true
			}
		default:
			if name[0] == ':' {
				return as("http1.connection_header_rejected", bad("connection names %s", name))
			}
			drop[name] = true
			h.Del(name)
		}
	}
	h.dropTokens("connection", drop)
	return nil
}

// keepTrailersOnly leaves of TE what an intermediary may pass on.
func (h *Header) keepTrailersOnly() {
	if h.Value("te") == "" {
		return
	}
	if h.HasToken("te", "trailers") {
		h.Set("te", "trailers")
	} else {
		h.Del("te")
	}
}

// DropHopByHop removes what concerns one connection only. An upgrade keeps what it needs
// (Envoy: conn_manager_utility.cc, mutateRequestHeaders).
func (m *Request) DropHopByHop() {
	if m.Upgrade == "" {
		m.Header.Del("connection")
		m.Header.Del("upgrade")
		m.Header.keepTrailersOnly()
	}
	m.Header.Del("keep-alive")
	m.Header.Del("proxy-connection")
	m.Header.Del("transfer-encoding")
}

// dropTokens takes words out of a comma-separated field, and the field if none is left.
func (h *Header) dropTokens(name string, drop map[string]bool) {
	if len(drop) == 0 {
		return
	}
	var keep []string
	for word := range strings.SplitSeq(h.Value(name), ",") {
		if word = strings.Trim(word, " \t"); word != "" && !drop[strings.ToLower(word)] {
			keep = append(keep, word)
		}
	}
	if keep == nil {
		h.Del(name)
		return
	}
	h.Set(name, strings.Join(keep, ","))
}

// MaxResponseHead in bytes and MaxResponseFields are what Envoy takes from upstreams where a cluster names no bounds.
const (
	MaxResponseHead   = 80 << 10
	MaxResponseFields = 100
)

// ReadResponse reads the next head into m, which keeps its memory. request is the method that it answers; limit
// bounds the head in bytes, fields the number of its fields. Errors are *Error for what the server did wrong, io.EOF for an
// end before the first byte, or the source's.
func (r *Reader) ReadResponse(m *Response, request string, limit, fields int) error {
	block, err := r.head(limit, checkStatusLine, true, false)
	if err != nil {
		return err
	}
	m.Header.Response = true
	start, err := r.parse(block, &m.Header, fields)
	if err != nil {
		return err
	}
	r.consumed(len(block))
	version, status, _ := words(start)
	m.Status, err = strconv.Atoi(status)
	if err != nil || m.Status < 100 {
		return bad("status %q", status)
	}
	h := &m.Header
	if m.Framing, m.Length, err = framing(h); err != nil {
		return err
	}
	m.Close = version != "HTTP/1.1" && !h.HasToken("connection", "keep-alive") || h.HasToken("connection", "close") ||
		h.HasToken("proxy-connection", "close")
	switch {
	case m.Framing == Chunked && (m.Status < 200 || m.Status == 204):
		return bad("transfer-encoding in a response of status %d", m.Status)
	case m.Framing == Length && m.Length > 0 && (m.Status < 200 || m.Status == 204):
		return bad("content-length in a response of status %d", m.Status)
	case m.Status == 101:
		m.Framing = UntilClose
	case m.Status < 200 || m.Status == 204 || m.Status == 304 || request == "HEAD":
		m.Framing = None
	case m.Framing == None:
		m.Framing = UntilClose
	}
	if m.Framing == UntilClose {
		m.Close = true
	}
	return nil
}

func checkStatusLine(line []byte, whole bool) error {
	if !whole {
		if line[0] != 'H' {
			return bad("no status line begins with byte 0x%02x", line[0])
		}
		return nil
	}
	version, status, reason := words(line)
	if !versionValid(string(version)) || len(version) == 0 || len(status) == 0 || bytes.IndexByte(reason, 0) >= 0 {
		return bad("status line %q", line)
	}
	return nil
}

// RequestVersion is the version that a request line asks for, whatever its method; false: the line is no request's (Envoy:
// listener filter http_inspector). line is without its end; with whole false it goes on, and only its method is looked at.
func RequestVersion(line string, whole bool) (version string, ok bool) {
	method, target, version := words(strings.TrimRight(line, "\r"))
	if method == "" || !all(method, isToken) {
		return "", false
	}
	return version, !whole || targetValid(target, method == "CONNECT") && versionValid(version)
}
