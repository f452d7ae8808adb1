// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// scenarios are the texts that test/oracle sends through Envoy: the seeds of the fuzz targets.
const scenarios = "../../../test/oracle/testdata/"

// unescape turns the escapes of a scenario into bytes (test/oracle/testdata/README.md).
var unescape = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", `\v`, "\v", `\0`, "\x00", `\xff`, "\xff", `\\`, `\`, "%3b", ";")

// steps returns the texts of a scenario's requests.
func steps(f *testing.F, name string) []string {
	f.Helper()
	data, err := os.ReadFile(scenarios + name)
	if err != nil {
		f.Fatal(err)
	}
	_, text, ok := strings.Cut(string(data), "-- requests --\n== ")
	if !ok {
		f.Fatalf("%s: no requests", name)
	}
	text, _, _ = strings.Cut(text, "-- envoy --\n")
	var all []string
	for step := range strings.SplitSeq(text, "\n== ") {
		_, body, _ := strings.Cut(step, "\n")
		all = append(all, body+"\n")
	}
	return all
}

func seedRequests(f *testing.F) {
	f.Helper()
	for _, name := range []string{"smuggling-requests.txtar", "differ-smuggling.txtar", "request-heads.txtar", "strict-requests.txtar", "chunks.txtar"} {
		for _, s := range steps(f, name) {
			f.Add(unescape.Replace(strings.ReplaceAll(s, "\n", "\r\n")))
		}
	}
}

func seedResponses(f *testing.F) {
	f.Helper()
	for _, name := range []string{"smuggling-responses.txtar", "response-heads.txtar"} {
		for _, s := range steps(f, name) {
			if _, raw, ok := strings.Cut(s, "x-answer: raw "); ok {
				f.Add(unescape.Replace(strings.TrimRight(raw, "\n")))
			}
		}
	}
}

// FuzzResponse holds the reader against net/http's, as FuzzRequest does: where both take an answer to GET, they see the same
// body and the same bytes behind it.
func FuzzResponse(f *testing.F) {
	seedResponses(f)
	f.Fuzz(func(t *testing.T, text string) {
		src := strings.NewReader(text)
		r := NewReader(src)
		var m Response
		if r.ReadResponse(&m, "GET", MaxResponseHead, MaxResponseFields) != nil {
			return
		}
		br := bufio.NewReader(strings.NewReader(text))
		p, err := http.ReadResponse(br, nil)
		if err != nil || m.Status == 101 || !p.ProtoAtLeast(1, 1) { // before 1.1 net/http knows no chunks; Envoy does
			return
		}
		if p.StatusCode != m.Status {
			t.Fatalf("%q: net/http sees status %d, we %d", text, p.StatusCode, m.Status)
		}
		var b Body
		b.Start(r, m.Framing, m.Length)
		ours, err1 := readAll(&b)
		theirs, err2 := io.ReadAll(p.Body)
		if err1 != nil || err2 != nil {
			return
		}
		if ours != string(theirs) {
			t.Fatalf("%q: net/http reads body %q, we %q", text, theirs, ours)
		}
		if m.Close { // what is behind it is never looked at
			return
		}
		left, _ := io.ReadAll(br)
		mine, _ := io.ReadAll(src)
		if rest := string(r.Buffered()) + string(mine); rest != string(left) {
			t.Fatalf("%q: net/http leaves %q, we %q", text, left, rest)
		}
	})
}
