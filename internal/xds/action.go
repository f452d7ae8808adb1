// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// direct reads a response that needs no upstream.
func (rr *routeReader) direct(p *routev3.DirectResponseAction, path string) *mesh.DirectResponse {
	d := &mesh.DirectResponse{Status: int(p.GetStatus())}
	sub := join(path, "body")
	d.Body = dataSource(p.GetBody(), sub, rr.f)
	if uint64(len(d.Body)) > uint64(rr.maxBody) {
		rr.f.invalid(sub, "has %d bytes and may have %d; raise max_direct_response_body_size_bytes of the route configuration",
			len(d.Body), rr.maxBody)
	}
	return d
}

// dataSource reads bytes; what it does not read is refused by the table.
func dataSource(p *corev3.DataSource, path string, f *findings) []byte {
	switch s := p.GetSpecifier().(type) {
	case *corev3.DataSource_InlineString:
		return []byte(s.InlineString)
	case *corev3.DataSource_InlineBytes:
		return s.InlineBytes
	case *corev3.DataSource_Filename:
		data, err := readRegular(s.Filename)
		if err != nil {
			f.invalid(join(path, "filename"), "%s %v", s.Filename, err)
		}
		return data
	}
	return nil
}

var redirectCodes = map[routev3.RedirectAction_RedirectResponseCode]int{
	routev3.RedirectAction_MOVED_PERMANENTLY:  http.StatusMovedPermanently,
	routev3.RedirectAction_FOUND:              http.StatusFound,
	routev3.RedirectAction_SEE_OTHER:          http.StatusSeeOther,
	routev3.RedirectAction_TEMPORARY_REDIRECT: http.StatusTemporaryRedirect,
	routev3.RedirectAction_PERMANENT_REDIRECT: http.StatusPermanentRedirect,
}

func redirect(p *routev3.RedirectAction, path string, f *findings) *mesh.Redirect {
	if p.GetPortRedirect() > 65535 {
		f.refused(join(path, "port_redirect"), "must be a port, not %d", p.GetPortRedirect())
	}
	return &mesh.Redirect{
		Scheme:       p.GetSchemeRedirect(),
		HTTPS:        p.GetHttpsRedirect(),
		Host:         p.GetHostRedirect(),
		Port:         p.GetPortRedirect(),
		Path:         p.GetPathRedirect(),
		PrefixPath:   p.GetPrefixRewrite(),
		RegexRewrite: regexRewrite(p.GetRegexRewrite(), join(path, "regex_rewrite"), f),
		Status:       redirectCodes[p.GetResponseCode()],
		StripQuery:   p.GetStripQuery(),
	}
}
