// SPDX-License-Identifier: Apache-2.0

package generate

import (
	"fmt"
	"strings"
)

// request is one step of a scenario while it is put together.
type request struct {
	options string
	method  string
	target  string
	fields  []string
	body    string
	answer  []string
}

func (q *request) add(format string, args ...any) {
	q.fields = append(q.fields, fmt.Sprintf(format, args...))
}

// requestParts change a plain GET.
var requestParts = []func(*Generator, *request){
	func(g *Generator, q *request) {
		q.target += "?" + one(g, "q=1", "q=abc&r=2", "r", "q=", "q=a%20b", "Q=1", "q=1&q=2")
	},
	func(g *Generator, q *request) { q.add("%s: %s", one(g, names...), one(g, values...)) },
	func(g *Generator, q *request) { q.add("%s: %s", one(g, names...), one(g, values...)) },
	func(g *Generator, q *request) { q.add("cookie: %s", one(g, "c=1", "c=abc; d=2", "d", "c=\"abc\"")) },
	func(g *Generator, q *request) { q.add("x-cluster: %s", one(g, "blue", "green", Unknown, Dead)) },
	func(g *Generator, q *request) { q.add("x-host: %s", one(g, "a.test", "z.test")) },
	func(g *Generator, q *request) { q.add("origin: %s", one(g, "http://o.test", "http://p.test", "null")) },
	func(g *Generator, q *request) {
		q.method = "OPTIONS"
		q.add("origin: http://o.test")
		q.add("access-control-request-method: GET")
	},
	func(g *Generator, q *request) {
		q.method = one(g, "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE")
	},
	func(g *Generator, q *request) {
		q.method, q.body = "POST", one(g, "hello\n", "a", strings.Repeat("0123456789", 200)+"\n")
	},
	func(g *Generator, q *request) {
		q.method, q.body = "POST", "one\ntwo\n"
		q.add("transfer-encoding: chunked")
	},
	func(g *Generator, q *request) {
		q.add("x-forwarded-for: %s", one(g, "1.2.3.4", "10.1.1.1, 1.2.3.4", "x", "10.0.0.1"))
	},
	func(g *Generator, q *request) { q.add("x-forwarded-proto: %s", one(g, "http", "https", "ftp")) },
	func(g *Generator, q *request) { q.add("x-request-id: %s", one(g, "own", "x")) },
	func(g *Generator, q *request) { q.add("connection: %s", one(g, "close", "x-a", "keep-alive, x-b")) },
	func(g *Generator, q *request) { q.add("te: %s", one(g, "trailers", "gzip")) },
	func(g *Generator, q *request) { q.add("via: 1.0 z") },
	func(g *Generator, q *request) { q.add("user-agent: ua") },
	func(g *Generator, q *request) { q.add("content-type: application/grpc") },
	func(g *Generator, q *request) {
		q.add("x-envoy-%s", one(g, "max-retries: 1", "retry-on: 5xx", "retry-on: retriable-status-codes", "retriable-status-codes: 404",
			"retriable-header-names: x-r", "upstream-rq-timeout-ms: 9000", "expected-rq-timeout-ms: 9000", "original-path: /o", "force-trace: 1",
			"decorator-operation: d", "fault-abort-request: 418", "upstream-alt-stat-name: s", "attempt-count: 7",
			"internal: true", "external-address: 1.1.1.1", "downstream-service-cluster: c", "is-timeout-retry: true"))
	},
	func(g *Generator, q *request) { q.target = "http://" + one(g, "a.test", "abs.test:80") + q.target },
	func(g *Generator, q *request) {
		q.target = strings.Replace(q.target, "/", one(g, "//", "/./", "/../", "/%2F", "/%61", "/a;p=1/", "/%5c", "/%2e%2e/"), 1)
	},
	func(g *Generator, q *request) { q.options += " fresh" },
}

// answerParts are what upstreams may be asked for.
var answerParts = []func(*Generator) string{
	func(g *Generator) string {
		return "status " + one(g, "200", "201", "204", "304", "404", "409", "418", "500", "502", "503", "504", "599")
	},
	func(g *Generator) string { return "status " + one(g, "503", "404", "502") + "; first 1" },
	func(g *Generator) string {
		return "status " + one(g, "301", "302", "303", "307") + "; header location: " + one(g, "http://a.test/a/b", "http://b.test/", "https://a.test/a", "/b/a", "x") + one(g, "", "; first 1")
	},
	func(g *Generator) string { return one(g, "reset", "hangup") },
	func(g *Generator) string { return one(g, "reset", "hangup") + "; first 1" },
	func(g *Generator) string { return "header x-r: " + one(g, values...) },
	func(g *Generator) string { return "header x-a: " + one(g, values...) },
	func(g *Generator) string { return "header server: own" },
	func(g *Generator) string { return "header location: /l" },
	func(g *Generator) string { return "chunked" },
	func(g *Generator) string { return "chunked; trailer x-t: 1" },
	func(g *Generator) string { return "close" },
	func(g *Generator) string { return "bare" },
	func(g *Generator) string { return "size " + one(g, "600", "10KiB", "200KiB") },
	func(g *Generator) string { return "interim 103" },
	func(g *Generator) string { return "header grpc-status: " + one(g, "0", "1", "14") },
	func(g *Generator) string { return "header x-envoy-ratelimited: 1" },
	func(g *Generator) string { return "header connection: x-r" },
}

// Requests returns n steps in the form of the corpus.
func (g *Generator) Requests(n int) string {
	var b strings.Builder
	for i := range n {
		q := request{method: "GET", target: g.path()}
		if !g.chance(12) {
			q.add("host: %s", one(g, "a.test", "a.test", "b.test", "x.test", "y.c.test", "c.test", "a.org", "b.x", "a.test:8080", "A.Test", "a.test:80", "q-x.test", "c.test.", "none"))
		} else {
			q.add("host: %s", one(g, "a.test:99", "", "[::1]", "127.0.0.1", "a_b.test", "a.test.", "a.test.:80"))
		}
		q.add("x-random: %d", g.between(0, 40))
		some(g, 12, requestParts, &q)
		if g.chance(2) {
			for _, a := range answerParts {
				if g.chance(14) {
					q.answer = append(q.answer, a(g))
				}
			}
		}
		if q.answer != nil {
			q.add("x-answer: %s", strings.Join(q.answer, "; "))
		}
		fmt.Fprintf(&b, "== %d: keep%s\n%s %s HTTP/1.1\n%s\n\n%s\n", i, q.options, q.method, q.target, strings.Join(q.fields, "\n"), strings.TrimSuffix(q.body, "\n"))
	}
	return b.String()
}
