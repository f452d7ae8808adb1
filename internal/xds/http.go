// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// http reads an HTTP connection manager; what it refers to goes into out.
func (r *reader) http(p *hcmv3.HttpConnectionManager, path string, out *listenerResource, f *findings) *mesh.HTTPConnectionManager {
	in := func(field string) string { return join(path, field) }
	common := p.GetCommonHttpProtocolOptions()
	h := &mesh.HTTPConnectionManager{
		StatPrefix:                p.GetStatPrefix(),
		StreamIdleTimeout:         duration(p.GetStreamIdleTimeout(), 5*time.Minute, in("stream_idle_timeout"), f),
		RequestTimeout:            duration(p.GetRequestTimeout(), 0, in("request_timeout"), f),
		RequestHeadersTimeout:     duration(p.GetRequestHeadersTimeout(), 0, in("request_headers_timeout"), f),
		MaxStreamDuration:         duration(common.GetMaxStreamDuration(), 0, in("common_http_protocol_options.max_stream_duration"), f),
		IdleTimeout:               duration(common.GetIdleTimeout(), time.Hour, in("common_http_protocol_options.idle_timeout"), f),
		MaxRequestHeadersKiB:      uint32Or(p.GetMaxRequestHeadersKb(), 60),
		MaxHeadersCount:           uint32Or(common.GetMaxHeadersCount(), 100),
		UseRemoteAddress:          boolOr(p.GetUseRemoteAddress(), false),
		GenerateRequestID:         boolOr(p.GetGenerateRequestId(), true),
		PreserveExternalRequestID: p.GetPreserveExternalRequestId(),
		ServerName:                p.GetServerName(),
		DelayedCloseTimeout:       duration(p.GetDelayedCloseTimeout(), time.Second, in("delayed_close_timeout"), f),
		DrainTimeout:              duration(p.GetDrainTimeout(), 5*time.Second, in("drain_timeout"), f),
		ServerHeader:              serverHeaders[p.GetServerHeaderTransformation()],
		Origin:                    origin(p, path, f),
		Paths:                     paths(p),
		Authority:                 authority(p, path, f),
		Via:                       p.GetVia(),
		RequestIDInResponse:       p.GetAlwaysSetRequestIdInResponse(),
		Proxy100Continue:          p.GetProxy_100Continue(),
		LocalReply:                localReply(p.GetLocalReplyConfig(), in("local_reply_config"), f),
		AccessLogs:                accessLogs(p.GetAccessLog(), in("access_log"), f),
		Upgrades:                  upgrades(p.GetUpgradeConfigs(), in("upgrade_configs"), f),
	}
	if h.ServerName == "" {
		h.ServerName = "envoy"
	}
	httpValues(p, path, f)
	h.Filters = httpFilters(p.GetHttpFilters(), in("http_filters"), f)
	switch {
	case p.GetRouteConfig() != nil:
		rc := routeConfig(p.GetRouteConfig(), in("route_config"), f)
		h.RouteConfig = rc.config
		if boolOr(p.GetRouteConfig().GetValidateClusters(), true) {
			out.refs = append(out.refs, rc.refs...)
		}
	case p.GetRds() != nil:
		h.RDS = p.GetRds().GetRouteConfigName()
		source := routeSource{path: in("rds.config_source"), name: h.RDS}
		source.from = configSource(p.GetRds().GetConfigSource(), source.path, f)
		out.rds = append(out.rds, source)
		if h.RDS == "" {
			f.refused(in("rds.route_config_name"), "is empty; name the route configuration")
		}
	}
	return h
}

// httpValues refuses values, where the table accepts the field.
func httpValues(p *hcmv3.HttpConnectionManager, path string, f *findings) {
	switch p.GetCodecType() {
	case hcmv3.HttpConnectionManager_AUTO, hcmv3.HttpConnectionManager_HTTP1:
	default:
		f.refused(join(path, "codec_type"), "%s is not supported: leno accepts AUTO and HTTP1", p.GetCodecType())
	}
	if v := p.GetHttpProtocolOptions().GetAllowAbsoluteUrl(); v != nil && !v.GetValue() {
		f.refused(join(path, "http_protocol_options.allow_absolute_url"), "false is not supported: leno accepts true")
	}
	if a := p.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction(); a != corev3.HttpProtocolOptions_ALLOW {
		f.refused(join(path, "common_http_protocol_options.headers_with_underscores_action"), "%s is not supported: leno accepts ALLOW", a)
	}
}

// upgrades reads the protocols that are passed through.
func upgrades(list []*hcmv3.HttpConnectionManager_UpgradeConfig, path string, f *findings) []string {
	var out []string
	seen := map[string]bool{}
	for i, u := range list {
		sub := join(at(path, i), "upgrade_type")
		name := strings.ToLower(u.GetUpgradeType())
		if seen[name] {
			f.invalid(sub, "%q is given twice", u.GetUpgradeType())
		}
		seen[name] = true
		switch {
		case !boolOr(u.GetEnabled(), true):
		case name == "websocket":
			out = append(out, name)
		default:
			f.refused(sub, "%q is not supported: leno accepts websocket", u.GetUpgradeType())
		}
	}
	return out
}
