// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// drops gives its text piece by piece with a timeout before each.
type drops struct {
	text string
	size int
	late bool
}

func (d *drops) Read(b []byte) (int, error) {
	if d.late = !d.late; d.late {
		return 0, os.ErrDeadlineExceeded
	}
	if d.text == "" {
		return 0, io.EOF
	}
	n := copy(b, d.text[:min(d.size, len(d.text))])
	d.text = d.text[n:]
	return n, nil
}

func readRequest(r *Reader, m *Request) error {
	for {
		if err := r.ReadRequest(m, 60<<10, 100, true); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// describe is what a reader understood.
func describe(m *Request, err error) string {
	var e *Error
	if errors.As(err, &e) {
		return fmt.Sprint(e.Status)
	} else if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("%s %s %d:%d", m.Method, m.Path, m.Framing, m.Length)
	for _, f := range m.Header.Fields {
		s += fmt.Sprintf(" %s=%q", f.Name, f.Value)
	}
	if m.Close {
		s += " close"
	}
	if m.Upgrade != "" {
		s += " upgrade"
	}
	return s
}

// What Envoy answers to these stands in test/oracle; here it is the way to the answer: whole and in pieces of each size.
func TestReadRequest(t *testing.T) {
	long := strings.Repeat("a", 70<<10)
	for _, c := range []struct{ name, in, want string }{
		{"plain", "GET /a?b HTTP/1.1\r\nHost: x\r\nX-A:  1 \r\n\r\n", `GET /a?b 0:0 host="x" x-a="1"`},
		{"bare line feeds", "\r\n\nGET / HTTP/1.1\nhost: x\n\n", `GET / 0:0 host="x"`},
		{"length", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 12\r\n\r\n", `POST / 1:12 host="x" content-length="12"`},
		{"chunked", "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n", `POST / 2:0 host="x" transfer-encoding="Chunked"`},
		{"both", "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "400"},
		{"same length twice", "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", "400"},
		{"signed length", "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n", "400"},
		{"length beyond 63 bits", "POST / HTTP/1.1\r\ncontent-length: 9223372036854775808\r\n\r\n", "400"},
		{"other coding", "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "501"},
		{"folded", "GET / HTTP/1.1\r\nx: 1\r\n\t2\r\nhost: x\r\n\r\n", `GET / 0:0 x="1\t2" host="x"`},
		{"joined", "GET / HTTP/1.1\r\nhost: a\r\naccept: 1\r\naccept: 2\r\ncookie: a\r\ncookie: b\r\n\r\n", `GET / 0:0 host="a" accept="1,2" cookie="a" cookie="b"`},
		{"space before colon", "GET / HTTP/1.1\r\nx : 1\r\n\r\n", "400"},
		{"garbage", "\x16\x03\x01", "400"},
		{"unknown method", "GOT / HTTP/1.1\r\n", "400"},
		{"old version", "GET / HTTP/1.0\r\n\r\n", "426"},
		{"too large", "GET / HTTP/1.1\r\nx: " + long + "\r\n\r\n", "431"},
		{"too large and no end", "GET / HTTP/1.1\r\nx: " + long, "431"},
		{"too many", "GET / HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", 101) + "\r\n", "431"},
		{"close", "GET / HTTP/1.1\r\nhost: x\r\nconnection: Keep-Alive, CLOSE\r\n\r\n", `GET / 0:0 host="x" connection="Keep-Alive, CLOSE" close`},
		{"nominated", "GET / HTTP/1.1\r\nhost: x\r\nconnection: x-h, keep-alive\r\nx-h: 1\r\n\r\n", `GET / 0:0 host="x" connection="keep-alive"`},
		{"upgrade", "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", `GET / 0:0 host="x" connection="upgrade" upgrade="websocket" upgrade`},
		{"h2c", "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: A\r\n\r\n", `GET / 0:0 host="x"`},
		{"absolute", "GET HTTP://u@Y:80/z HTTP/1.1\r\nhost: x\r\n\r\n", `GET /z 0:0 host="Y:80"`},
		{"connect", "CONNECT y:443 HTTP/1.1\r\nhost: x\r\n\r\n", `CONNECT  0:0 host="y:443"`},
		{"nothing", "", "EOF"},
		{"half", "GET / HT", "unexpected EOF"},
	} {
		for _, size := range []int{1, 2, 3, 7, 1000, 1 << 20} {
			if len(c.in) > 1000 && size < 1000 {
				continue
			}
			var m Request
			err := readRequest(NewReader(&drops{text: c.in, size: size}), &m)
			if got := describe(&m, err); got != c.want {
				t.Errorf("%s in pieces of %d:\n got %s\nwant %s", c.name, size, got, c.want)
			}
		}
	}
}

func TestPipelined(t *testing.T) {
	r := NewReader(&drops{text: "GET /1 HTTP/1.1\r\nhost: x\r\n\r\nPOST /2 HTTP/1.1\r\nhost: y\r\ncontent-length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\n\r\n", size: 1 << 10})
	var m Request
	var b Body
	for i, want := range []string{`GET /1 0:0 host="x"`, `POST /2 1:3 host="y" content-length="3"`, "GET /3 0:0"} {
		if got := describe(&m, readRequest(r, &m)); got != want {
			t.Errorf("request %d: got %s, want %s", i+1, got, want)
		}
		b.Start(r, m.Framing, m.Length)
		if got, err := readAll(&b); err != nil || len(got) != int(m.Length) {
			t.Errorf("request %d: body %q, %v", i+1, got, err)
		}
	}
}

func readAll(b *Body) (string, error) {
	var all strings.Builder
	for {
		piece, last, err := b.Next(true)
		all.Write(piece)
		if last || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return all.String(), err
		}
	}
}

func TestBody(t *testing.T) {
	big := strings.Repeat("0123456789", 20_000)
	for _, c := range []struct {
		name, in string
		framing  Framing
		length   int64
		want     string // content, or the status that a client gets, or the error's text
		rest     string
	}{
		{"none", "rest", None, 0, "", "rest"},
		{"length", "abcrest", Length, 3, "abc", "rest"},
		{"large", big + "rest", Length, int64(len(big)), big, "rest"},
		{"cut", "ab", Length, 3, "unexpected EOF", ""},
		{"until close", "abc", UntilClose, 0, "abc", ""},
		{"chunks", "3\r\nabc\r\n0004;x=y\r\ndefg\r\n0\r\n\r\nrest", Chunked, 0, "abcdefg", "rest"},
		{"large chunk", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\nrest", len(big), big), Chunked, 0, big, "rest"},
		{"trailers", "1\r\na\r\n0\r\nX-T: 1\r\n\r\nrest", Chunked, 0, "a", "rest"},
		{"bad trailer", "1\r\na\r\n0\r\nx t\r\n\r\n", Chunked, 0, "400", ""},
		{"no size", "\r\nabc", Chunked, 0, "400", ""},
		{"bad size", "3x\r\nabc", Chunked, 0, "400", ""},
		{"huge size", "fffffffffffffffff\r\n", Chunked, 0, "400", ""},
		{"bare LF", "3\nabc\r\n0\r\n\r\n", Chunked, 0, "400", ""},
		{"endless size line", strings.Repeat("0", 20<<10), Chunked, 0, "400", ""},
		{"cut chunk", "3\r\nab", Chunked, 0, "unexpected EOF", ""},
	} {
		for _, size := range []int{1, 2, 5, 4096, 1 << 20} {
			if len(c.in) > 1<<12 && size < 4096 {
				continue
			}
			src := &drops{text: c.in, size: size}
			r := NewReader(src)
			var b Body
			b.Start(r, c.framing, c.length)
			got, err := readAll(&b)
			if err != nil {
				got = describe(nil, err)
			}
			if got != c.want {
				t.Errorf("%s in pieces of %d: got %.60q (%v), want %.60q", c.name, size, got, err, c.want)
			}
			if rest := string(r.Buffered()) + src.text; c.rest != "" && rest != c.rest {
				t.Errorf("%s in pieces of %d: left %q", c.name, size, rest)
			}
		}
	}
}

func TestNothingIsReadUnasked(t *testing.T) {
	r := NewReader(strings.NewReader("GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
	var m Request
	if err := r.ReadRequest(&m, 1<<10, 10, false); !errors.Is(err, ErrWait) {
		t.Fatalf("got %v, want ErrWait", err)
	}
	if err := r.Fill(0); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadRequest(&m, 1<<10, 10, false); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenCanBeRead(t *testing.T) {
	m := Request{Method: "POST", Path: "/x?y", Header: Header{Fields: []Field{{"host", "h"}, {"content-length", "2"}}}}
	text := string(AppendRequest(nil, &m, Length)) + "ok"
	q, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(q.Body); q.Method != "POST" || q.RequestURI != "/x?y" || q.Host != "h" || string(body) != "ok" {
		t.Errorf("net/http read %+v", q)
	}
	h := Header{Fields: []Field{{"x", "y"}}}
	text = string(AppendResponse(nil, 200, &h, Chunked, true)) + string(AppendChunkHead(nil, 2)) + "ok" + ChunkTail + LastChunk
	p, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(p.Body); p.StatusCode != 200 || p.Header.Get("x") != "y" || !p.Close || string(body) != "ok" {
		t.Errorf("net/http read %+v", p)
	}
}

// FuzzRequest holds the reader against net/http's: where both take a request they must see the same one, and the same
// bytes behind it. A difference would be a way to smuggle.
func FuzzRequest(f *testing.F) {
	seedRequests(f)
	f.Fuzz(func(t *testing.T, text string) {
		src := strings.NewReader(text)
		r := NewReader(src)
		var m Request
		if readRequest(r, &m) != nil {
			return
		}
		br := bufio.NewReader(strings.NewReader(strings.TrimLeft(text, "\r\n")))
		q, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if q.Method != m.Method || m.Method != "CONNECT" && m.Scheme == "" && q.RequestURI != m.Path {
			t.Fatalf("%q: net/http sees %s %s, we %s %s", text, q.Method, q.RequestURI, m.Method, m.Path)
		}
		// Who gives several hosts gets them joined, as in Envoy; net/http takes the first, and keeps the end of a folded line.
		if host := m.Header.Value("host"); host != "" && m.Method != "CONNECT" && strings.TrimSpace(q.Host) != host && !strings.Contains(host, ",") && m.Scheme == "" {
			t.Fatalf("%q: net/http sees host %q, we %q", text, q.Host, host)
		}
		var b Body
		b.Start(r, m.Framing, m.Length)
		ours, err1 := readAll(&b)
		theirs, err2 := io.ReadAll(q.Body)
		if err1 != nil || err2 != nil || m.Method == "CONNECT" {
			return
		}
		if ours != string(theirs) {
			t.Fatalf("%q: net/http reads body %q, we %q", text, theirs, ours)
		}
		left, _ := io.ReadAll(br)
		mine, _ := io.ReadAll(src)
		if rest := string(r.Buffered()) + string(mine); rest != string(left) {
			t.Fatalf("%q: net/http leaves %q, we %q", text, left, rest)
		}
	})
}

func BenchmarkReadRequest(b *testing.B) {
	const text = "GET /path HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\nAccept: */*\r\nX-A: 1\r\nCookie: a=b\r\n\r\n"
	src := &loop{text: text}
	r := NewReader(src)
	var m Request
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := r.ReadRequest(&m, 60<<10, 100, true); err != nil {
			b.Fatal(err)
		}
	}
}

// loop gives one text for ever.
type loop struct{ text string }

func (l *loop) Read(b []byte) (int, error) { return copy(b, l.text), nil }
