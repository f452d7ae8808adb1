// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"cmp"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// localReply reads what is made of answers of our own. Unlike in a log, what leno does not know is refused.
func localReply(p *hcmv3.LocalReplyConfig, path string, f *findings) *mesh.LocalReply {
	if p == nil {
		return nil
	}
	out := &mesh.LocalReply{Body: replyBody(p.GetBodyFormat(), join(path, "body_format"), f)}
	for i, m := range p.GetMappers() {
		sub := at(join(path, "mappers"), i)
		filter, _ := logFilter(m.GetFilter(), join(sub, "filter"), f) // what it does not know is refused by the table
		mapper := mesh.ReplyMapper{Filter: filter, Status: int(m.GetStatusCode().GetValue()),
			Headers: headerOps(m.GetHeadersToAdd(), nil, join(sub, "headers_to_add"), "", f),
			Body:    replyBody(m.GetBodyFormatOverride(), join(sub, "body_format_override"), f)}
		if m.GetBody() != nil {
			text := string(dataSource(m.GetBody(), join(sub, "body"), f))
			mapper.Text = &text
		}
		out.Mappers = append(out.Mappers, mapper)
	}
	return out
}

func replyBody(p *corev3.SubstitutionFormatString, path string, f *findings) *mesh.ReplyBody {
	if p == nil {
		return nil
	}
	line, _ := formatString(p, path, inReply, f)
	kind := "text/plain"
	if line.JSON != nil {
		kind = "application/json"
	}
	return &mesh.ReplyBody{Line: line, ContentType: cmp.Or(p.GetContentType(), kind)}
}
