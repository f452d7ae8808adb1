// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// hopByHop fields say how one connection is used, not what is said on it.
var hopByHop = []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding"}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
var upto = regexp.MustCompile(`\bupto [0-9]+`)
var number = regexp.MustCompile(`^[0-9]+$`)

// shape replaces values that change from run to run.
func shape(f field) string {
	switch f.name {
	case "x-request-id":
		if uuid.MatchString(f.value) {
			return "(uuid)"
		}
	case "x-hostname":
		if name, err := os.Hostname(); err == nil && name == f.value {
			return "(hostname)"
		}
	case "date":
		if at, err := http.ParseTime(f.value); err == nil && time.Since(at).Abs() < time.Hour {
			return "(date)"
		}
	case "x-envoy-upstream-service-time":
		if number.MatchString(f.value) {
			return "(ms)"
		}
	case "x-answer": // of the requests that differ only in where the answer is cut, equal ones are counted together
		return plain(upto.ReplaceAllString(f.value, "upto (n)"))
	}
	if len(f.value) > 4096 {
		return fmt.Sprintf("(%d bytes)", len(f.value))
	}
	return plain(f.value)
}

// plain keeps a recording readable text: a line with other bytes is written with escapes.
func plain(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, control) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// normalFields writes fields in normal form: sorted by name, order kept within one name, hop-by-hop left out.
func normalFields(b *strings.Builder, mark string, fields []field) {
	sorted := slices.Clone(fields)
	slices.SortStableFunc(sorted, func(x, y field) int { return strings.Compare(x.name, y.name) })
	for _, f := range sorted {
		if !slices.Contains(hopByHop, f.name) {
			fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("%s %s: %s", mark, f.name, shape(f)), " "))
		}
	}
}

// normalBody writes short text as it is, and anything else as size and digest.
func normalBody(b *strings.Builder, mark string, body []byte) {
	if len(body) == 0 {
		return
	}
	if len(body) > 512 || !utf8.Valid(body) || bytes.ContainsFunc(body, control) {
		fmt.Fprintf(b, "%s| (%d bytes, sha256 %.8x)\n", mark, len(body), sha256.Sum256(body))
		return
	}
	text, ended := strings.CutSuffix(string(body), "\n")
	for _, line := range strings.Split(text, "\n") {
		fmt.Fprintf(b, "%s| %s\n", mark, strings.ReplaceAll(line, "\r", `\r`))
	}
	if !ended {
		fmt.Fprintf(b, "%s| (no end of line)\n", mark)
	}
}

func control(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }

func normalResponse(b *strings.Builder, m *message) {
	fmt.Fprintf(b, "< %d\n", m.status())
	normalFields(b, "<", m.fields)
	normalBody(b, "<", m.body)
	if m.trailers != nil {
		normalFields(b, "< trailer", m.trailers)
	}
}

func normalSeen(b *strings.Builder, s *seen) {
	fmt.Fprintf(b, "> %s %s\n", s.upstream, plain(s.request.start))
	normalFields(b, ">", s.request.fields)
	if s.unread {
		fmt.Fprintln(b, ">| (not read)")
		return
	}
	normalBody(b, ">", s.request.body)
	if s.request.trailers != nil {
		normalFields(b, "> trailer", s.request.trailers)
	}
}
