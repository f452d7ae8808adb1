// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// field is one header or trailer line as it came, name in lower case.
type field struct{ name, value string }

// message is one HTTP/1.1 message read without net/http, which would hide order, repeats and framing.
type message struct {
	start    string // request or status line
	fields   []field
	body     []byte
	trailers []field
}

// get returns the first value of a field, or "".
func (m *message) get(name string) string {
	for _, f := range m.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// has says if one of the comma-separated values of a field is token.
func (m *message) has(name, token string) bool {
	for _, f := range m.fields {
		if f.name != name {
			continue
		}
		for _, v := range strings.Split(f.value, ",") {
			if strings.EqualFold(strings.TrimSpace(v), token) {
				return true
			}
		}
	}
	return false
}

// status of a response; 0 if the status line is not one.
func (m *message) status() int {
	parts := strings.SplitN(m.start, " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(parts[0], "HTTP/1.") {
		return 0
	}
	n, _ := strconv.Atoi(parts[1])
	return n
}

// method and path of a request.
func (m *message) request() (method, path, version string) {
	method, rest, _ := strings.Cut(m.start, " ")
	path, version, _ = strings.Cut(rest, " ")
	return method, path, version
}

// readHead reads the start line and the fields. io.EOF: the peer closed before the first byte.
func readHead(r *bufio.Reader) (*message, error) {
	start, err := readLine(r)
	if err != nil {
		return nil, err
	}
	fields, err := readFields(r)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &message{start: start, fields: fields}, err
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err == io.EOF && line != "" {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(line, "\r\n") {
		return "", fmt.Errorf("line %q does not end in CRLF", line)
	}
	return line[:len(line)-2], nil
}

func readFields(r *bufio.Reader) ([]field, error) {
	var fields []field
	for {
		line, err := readLine(r)
		if err != nil || line == "" {
			return fields, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header line %q has no colon", line)
		}
		fields = append(fields, field{strings.ToLower(name), strings.Trim(value, " \t")})
	}
}

// readBody reads what follows the head. toEOF: without framing the body ends with the connection (responses).
func (m *message) readBody(r *bufio.Reader, toEOF bool) error {
	if m.has("transfer-encoding", "chunked") {
		return m.readChunks(r)
	}
	if s := m.get("content-length"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("content-length %q: %w", s, err)
		}
		var b bytes.Buffer
		_, err = io.CopyN(&b, r, int64(n))
		m.body = b.Bytes()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if !toEOF {
		return nil
	}
	var err error
	m.body, err = io.ReadAll(r)
	return err
}

func (m *message) readChunks(r *bufio.Reader) error {
	var b bytes.Buffer
	defer func() { m.body = b.Bytes() }()
	for {
		line, err := readLine(r)
		if err != nil {
			return unexpected(err)
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 32)
		if err != nil {
			return fmt.Errorf("chunk size %q: %w", line, err)
		}
		if n == 0 {
			m.trailers, err = readFields(r)
			return unexpected(err)
		}
		if _, err := io.CopyN(&b, r, n); err != nil {
			return unexpected(err)
		}
		if end, err := readLine(r); err != nil {
			return unexpected(err)
		} else if end != "" {
			return fmt.Errorf("chunk does not end in CRLF but in %q", end)
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// chunked encodes each piece as one chunk, then the trailers.
func chunked(pieces []string, trailers []field) string {
	var b strings.Builder
	for _, p := range pieces {
		if p != "" {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
		}
	}
	b.WriteString("0\r\n")
	for _, t := range trailers {
		fmt.Fprintf(&b, "%s: %s\r\n", t.name, t.value)
	}
	b.WriteString("\r\n")
	return b.String()
}

// pattern is a body of n bytes in which a lost, doubled or moved piece shows.
func pattern(n int) []byte {
	b := make([]byte, 0, n+8)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%07d\n", i)
	}
	return b[:n]
}

// parseSize reads "10", "64KiB" or "1MiB".
func parseSize(s string) (int, error) {
	unit := 1
	if v, ok := strings.CutSuffix(s, "KiB"); ok {
		s, unit = v, 1<<10
	} else if v, ok := strings.CutSuffix(s, "MiB"); ok {
		s, unit = v, 1<<20
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("size %q: must be a number, with KiB or MiB or without", s)
	}
	return n * unit, nil
}
