// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"

	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// httpInspector finds out which HTTP a client speaks (Envoy: filters/listener/http_inspector).
type httpInspector struct{ stats *inspectorStats }

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func (httpInspector) most() int { return 64 << 10 }

func (h httpInspector) look(data []byte, a *arrival) (judgement, int) {
	if n := min(len(data), len(preface)); string(data[:n]) == preface[:n] {
		if n < len(preface) {
			return wait, 0
		}
		h.stats.http2.Add(1)
		a.protocols = []string{"h2c"}
		return goAhead, 0
	}
	line, _, whole := bytes.Cut(data, []byte("\n"))
	switch version, ok := http1.RequestVersion(string(line), whole); {
	case !ok:
		h.stats.httpNotFound.Add(1)
	case !whole && len(data) < h.most():
		return wait, 0
	case !whole:
		h.stats.httpTooLong.Add(1)
		return turnOff, 0
	case version == "HTTP/1.1":
		h.stats.http11.Add(1)
		a.protocols = []string{"http/1.1"}
	default:
		h.stats.http10.Add(1)
		a.protocols = []string{"http/1.0"}
	}
	return goAhead, 0
}
