// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// expand is a format's text for this exchange; what a command does not find is empty, as in header operations
// (Envoy: http_specific_formatter.cc, stream_info_formatter.cc). response is nil before there is one.
func (x *exchange) expand(f mesh.Format, response *http1.Header) string {
	if len(f) == 1 {
		return x.formatPart(&f[0], response)
	}
	var b strings.Builder
	for i := range f {
		b.WriteString(x.formatPart(&f[i], response))
	}
	return b.String()
}

func (x *exchange) formatPart(p *mesh.FormatPart, response *http1.Header) string {
	var v string
	switch p.Command {
	case "":
		return p.Text
	case mesh.CommandRequestHeader:
		var ok bool
		if v, ok = field(&x.c.req, p.Header); !ok && p.Alternative != "" {
			v, _ = field(&x.c.req, p.Alternative)
		}
	case mesh.CommandResponseHeader:
		if response == nil {
			return ""
		}
		var ok bool
		if v, ok = response.Get(p.Header); !ok && p.Alternative != "" {
			v = response.Value(p.Alternative)
		}
	case mesh.CommandProtocol:
		return "HTTP/1.1" // the only one that clients are offered
	case mesh.CommandRouteName:
		return x.match.route.Name
	case mesh.CommandRemoteAddress:
		return x.remote.String()
	case mesh.CommandDirectRemoteAddress:
		return x.c.peer.String() // whatever a PROXY header says
	}
	if p.Limit && uint64(len(v)) > p.MaxLength {
		v = v[:p.MaxLength]
	}
	return v
}
