// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"

	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// mapped is an answer of our own after local_reply_config has changed it (Envoy: local_reply.cc, LocalReplyImpl::rewrite, and
// http/utility.cc, prepareLocalReply).
func (x *exchange) mapped(status int, body string, h *http1.Header) (int, string) {
	config := x.c.config.LocalReply
	if config == nil {
		return status, body
	}
	x.facts.status = status
	before, hadType := h.Get("content-type")
	was, how := body, config.Body
	for i := range config.Mappers {
		m := &config.Mappers[i]
		if s := x.replyScene(h, body); !s.passes(&m.Filter) {
			continue
		}
		if m.Text != nil {
			body = *m.Text
		}
		x.apply(&m.Headers, h, h)
		if m.Status != 0 {
			status = m.Status
			x.facts.status = status
		}
		if m.Body != nil {
			how = m.Body
		}
		break
	}
	kind := "text/plain"
	if how != nil {
		body = string(x.replyScene(h, body).appendLine(nil, &how.Line))
		kind = how.ContentType
		if x.grpc && kind == "application/json" {
			body = strings.TrimSuffix(body, "\n") // it goes into a field
		}
	}
	after, hasType := h.Get("content-type")
	switch own := before != after || hadType != hasType; {
	case body == "":
		h.Del("content-type")
	case !hasType || body != was && !own:
		h.Set("content-type", kind)
	}
	return status, body
}

// replyScene is what a reply's conditions and formats look at.
func (x *exchange) replyScene(h *http1.Header, body string) *scene {
	s := x.scene(h)
	s.body, s.logType = body, "NotSet"
	return s
}
