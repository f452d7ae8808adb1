// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	xffv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/xff/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3" // a type that files name

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// origin reads whose word counts for where a request comes from.
func origin(p *hcmv3.HttpConnectionManager, path string, f *findings) mesh.Origin {
	in := func(field string) string { return join(path, field) }
	o := mesh.Origin{
		TrustedHops:          p.GetXffNumTrustedHops(),
		Internal:             prefixes(p.GetInternalAddressConfig().GetCidrRanges(), in("internal_address_config.cidr_ranges"), f),
		SkipXFFAppend:        p.GetSkipXffAppend(),
		AppendXForwardedPort: p.GetAppendXForwardedPort(),
		KeepClientCert:       p.GetForwardClientCertDetails() == hcmv3.HttpConnectionManager_ALWAYS_FORWARD_ONLY,
		Scheme:               p.GetSchemeHeaderTransformation().GetSchemeToOverwrite(),
		AddUserAgent:         boolOr(p.GetAddUserAgent(), false),
	}
	if p.GetInternalAddressConfig() != nil && o.Internal == nil {
		o.Internal = private
	}
	extensions := in("original_ip_detection_extensions")
	switch list := p.GetOriginalIpDetectionExtensions(); {
	case len(list) == 0 && !boolOr(p.GetUseRemoteAddress(), false):
		o.Detection = []mesh.XFFDetection{{Hops: o.TrustedHops}}
		o.TrustedHops = 0
	case len(list) == 0:
	case boolOr(p.GetUseRemoteAddress(), false):
		f.invalid(extensions, "cannot be given together with use_remote_address")
	case o.TrustedHops > 0:
		f.invalid(extensions, "cannot be given together with xff_num_trusted_hops")
	default:
		for i, e := range list {
			if m, ok := unpack(e.GetTypedConfig()).(*xffv3.XffConfig); ok { // others are refused by the table
				o.Detection = append(o.Detection, detection(m, join(at(extensions, i), "typed_config"), f))
			}
		}
	}
	return o
}

// private is who is internal where internal_address_config names no ranges.
var private = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::1/128")}

func detection(m *xffv3.XffConfig, path string, f *findings) mesh.XFFDetection {
	d := mesh.XFFDetection{Hops: m.GetXffNumTrustedHops(), Append: !boolOr(m.GetSkipXffAppend(), true),
		Trusted: prefixes(m.GetXffTrustedCidrs().GetCidrs(), join(path, "xff_trusted_cidrs.cidrs"), f)}
	if m.GetXffTrustedCidrs() != nil && d.Hops > 0 {
		f.invalid(join(path, "xff_trusted_cidrs"), "cannot be given together with xff_num_trusted_hops")
	}
	return d
}

func prefixes(list []*corev3.CidrRange, path string, f *findings) []netip.Prefix {
	var all []netip.Prefix
	for i, r := range list {
		if p, ok := prefix(r, at(path, i), f); ok {
			all = append(all, p)
		}
	}
	return all
}

// prefix reads a range of addresses. A length beyond the address is the whole address, as in Envoy.
func prefix(r *corev3.CidrRange, path string, f *findings) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil || a.Zone() != "" {
		f.invalid(join(path, "address_prefix"), "must be an IP address, not %q", r.GetAddressPrefix())
		return netip.Prefix{}, false
	}
	p, _ := a.Prefix(min(int(r.GetPrefixLen().GetValue()), a.BitLen())) // within bounds
	return p, true
}

var escapedSlashes = map[hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction]mesh.EscapedSlashes{
	hcmv3.HttpConnectionManager_REJECT_REQUEST:        mesh.RejectEscapedSlashes,
	hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT: mesh.RedirectUnescaped,
	hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD:  mesh.ForwardUnescaped,
}

func paths(p *hcmv3.HttpConnectionManager) mesh.Paths {
	return mesh.Paths{
		Normalize:      boolOr(p.GetNormalizePath(), false),
		MergeSlashes:   p.GetMergeSlashes(),
		EscapedSlashes: escapedSlashes[p.GetPathWithEscapedSlashesAction()],
	}
}

func authority(p *hcmv3.HttpConnectionManager, path string, f *findings) mesh.Authority {
	a := mesh.Authority{StripTrailingDot: p.GetStripTrailingHostDot()}
	switch {
	case p.GetStripAnyHostPort() && p.GetStripMatchingHostPort():
		f.invalid(join(path, "strip_any_host_port"), "cannot be given together with strip_matching_host_port")
	case p.GetStripAnyHostPort():
		a.StripPort = mesh.StripAnyPort
	case p.GetStripMatchingHostPort():
		a.StripPort = mesh.StripMatchingPort
	}
	return a
}

var serverHeaders = map[hcmv3.HttpConnectionManager_ServerHeaderTransformation]mesh.ServerHeader{
	hcmv3.HttpConnectionManager_OVERWRITE:        mesh.OverwriteServer,
	hcmv3.HttpConnectionManager_APPEND_IF_ABSENT: mesh.AppendServerIfAbsent,
	hcmv3.HttpConnectionManager_PASS_THROUGH:     mesh.PassServerThrough,
}
