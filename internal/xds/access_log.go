// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/req_without_query/v3" // a type that files name

	"github.com/leno-mesh/leno/internal/mesh"
)

// defaultLogFormat is Envoy's (substitution_format_utility.cc).
const defaultLogFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ` +
	`"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// accessLogs reads the logs that leno can write. The others watch only, so they are left out, and the report names them.
func accessLogs(list []*accesslogv3.AccessLog, path string, f *findings) []mesh.AccessLog {
	var all []mesh.AccessLog
	for i, p := range list {
		if l, ok := accessLog(p, at(path, i), f); ok {
			all = append(all, l)
		}
	}
	return all
}

func accessLog(p *accesslogv3.AccessLog, path string, f *findings) (l mesh.AccessLog, ok bool) {
	ok = true
	if p.GetFilter() != nil {
		var filter mesh.LogFilter
		filter, ok = logFilter(p.GetFilter(), join(path, "filter"), f)
		l.Filter = &filter
	}
	path = join(path, "typed_config")
	if p.GetTypedConfig() == nil {
		f.invalid(path, "must say which access logger it is")
	}
	var line bool
	switch m := unpack(p.GetTypedConfig()).(type) {
	case *filev3.FileAccessLog:
		l.Path = m.GetPath()
		l.Line, line = fileLine(m, path, f)
	case *streamv3.StdoutAccessLog:
		l.Path = "/dev/stdout"
		l.Line, line = formatString(m.GetLogFormat(), join(path, "log_format"), inLog, f)
	case *streamv3.StderrAccessLog:
		l.Path = "/dev/stderr"
		l.Line, line = formatString(m.GetLogFormat(), join(path, "log_format"), inLog, f)
	}
	return l, ok && line
}

// fileLine also knows the fields that came before log_format.
func fileLine(m *filev3.FileAccessLog, path string, f *findings) (mesh.LogLine, bool) {
	r := formatReader{use: inLog, f: f}
	switch old := m.GetAccessLogFormat().(type) {
	case *filev3.FileAccessLog_Format: //nolint:staticcheck // deprecated, and still in many files
		if old.Format != "" {
			text, ok := r.text(old.Format, join(path, "format"))
			return mesh.LogLine{Text: text}, ok
		}
	case *filev3.FileAccessLog_JsonFormat: //nolint:staticcheck // deprecated, and still in many files
		v, ok := r.json(old.JsonFormat, join(path, "json_format"))
		return mesh.LogLine{JSON: v}, ok
	case *filev3.FileAccessLog_TypedJsonFormat: //nolint:staticcheck // deprecated, and still in many files
		v, ok := r.json(old.TypedJsonFormat, join(path, "typed_json_format"))
		return mesh.LogLine{JSON: v}, ok
	}
	return formatString(m.GetLogFormat(), join(path, "log_format"), inLog, f)
}

// formatString reads a format; nil is Envoy's default. ok is false where the report says why there is none.
func formatString(p *corev3.SubstitutionFormatString, path string, use formatUse, f *findings) (line mesh.LogLine, ok bool) {
	line.OmitEmpty = p.GetOmitEmptyValues()
	r := formatReader{use: use, f: f}
	for _, e := range p.GetFormatters() {
		if typeName(e.GetTypedConfig()) != "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery" {
			return line, false // the table reports it
		}
		r.withoutQuery = true
	}
	switch format := p.GetFormat().(type) {
	case *corev3.SubstitutionFormatString_JsonFormat:
		line.JSON, ok = r.json(format.JsonFormat, join(path, "json_format"))
	case *corev3.SubstitutionFormatString_TextFormat: //nolint:staticcheck // deprecated, and still in many files
		line.Text, ok = r.text(format.TextFormat, join(path, "text_format"))
	case *corev3.SubstitutionFormatString_TextFormatSource:
		sub := join(path, "text_format_source")
		if format.TextFormatSource.GetEnvironmentVariable() != "" {
			return line, false // the table reports it
		}
		line.Text, ok = r.text(string(dataSource(format.TextFormatSource, sub, f)), sub)
	default:
		line.Text, ok = r.text(defaultLogFormat, path)
	}
	return line, ok
}

// formatReader reads the parts of one format.
type formatReader struct {
	use          formatUse
	withoutQuery bool
	f            *findings
}

// text reads a text; what leno does not know is reported, and ok is false.
func (r *formatReader) text(s, path string) (text mesh.Format, ok bool) {
	text, err := format(s, r.use, r.withoutQuery)
	switch unknown := errors.As(err, new(*commandError)) || errors.As(err, new(*operandError)); {
	case err == nil:
		return text, true
	case unknown:
		r.leave(path, err.Error())
	default:
		r.f.invalid(path, "%v", err)
	}
	return nil, false
}

// leave reports what leno does not do: a log only watches, and is left out.
func (r *formatReader) leave(path, why string) {
	if r.use == inLog {
		r.f.skipped(path, "is skipped with its log: %s", why)
	} else {
		r.f.refused(path, "%s", why)
	}
}

// json reads an object that is written on one line; names are in the order of their bytes.
func (r *formatReader) json(p *structpb.Struct, path string) (*mesh.JSONValue, bool) {
	j := jsonReader{formatReader: r, ok: true}
	v := j.object(p, path)
	return &v, j.ok
}

type jsonReader struct {
	*formatReader
	ok bool
}

func (r *jsonReader) object(p *structpb.Struct, path string) mesh.JSONValue {
	v := mesh.JSONValue{IsObject: true}
	for _, name := range slices.Sorted(maps.Keys(p.GetFields())) {
		v.Object = append(v.Object, mesh.JSONMember{Name: string(mesh.AppendQuoted(nil, name)), Value: r.value(p.GetFields()[name], join(path, name))})
	}
	return v
}

func (r *jsonReader) value(p *structpb.Value, path string) mesh.JSONValue {
	switch v := p.GetKind().(type) {
	case *structpb.Value_StructValue:
		return r.object(v.StructValue, path)
	case *structpb.Value_ListValue:
		var list mesh.JSONValue
		for i, e := range v.ListValue.GetValues() {
			list.List = append(list.List, r.value(e, at(path, i)))
		}
		return list
	case *structpb.Value_StringValue:
		text, ok := r.text(v.StringValue, path)
		r.ok = r.ok && ok
		if len(text) == 0 || len(text) == 1 && text[0].Command == "" {
			return mesh.JSONValue{Raw: string(mesh.AppendQuoted(nil, fixed(text)))}
		}
		return mesh.JSONValue{Format: text}
	case *structpb.Value_NumberValue:
		if v.NumberValue != math.Trunc(v.NumberValue) || math.Abs(v.NumberValue) > 1<<53 {
			r.leave(path, "leno accepts whole numbers; put this one into quotes")
			r.ok = false
		}
		return mesh.JSONValue{Raw: strconv.FormatInt(int64(v.NumberValue), 10)}
	case *structpb.Value_BoolValue:
		return mesh.JSONValue{Raw: strconv.FormatBool(v.BoolValue)}
	}
	return mesh.JSONValue{Raw: "null"}
}

// fixed is the text of a format without commands.
func fixed(text mesh.Format) string {
	if len(text) == 0 {
		return ""
	}
	return text[0].Text
}

var comparisons = map[accesslogv3.ComparisonFilter_Op]mesh.ComparisonOp{
	accesslogv3.ComparisonFilter_GE: mesh.GreaterOrEqual, accesslogv3.ComparisonFilter_LE: mesh.LessOrEqual,
	accesslogv3.ComparisonFilter_NE: mesh.NotEqual,
}

func comparison(p *accesslogv3.ComparisonFilter) *mesh.Comparison {
	return &mesh.Comparison{Op: comparisons[p.GetOp()], Value: p.GetValue().GetDefaultValue()}
}

// logFilter reads a condition; ok is false for one that the table reports: its log is not written.
func logFilter(p *accesslogv3.AccessLogFilter, path string, f *findings) (out mesh.LogFilter, ok bool) {
	switch s := p.GetFilterSpecifier().(type) {
	case *accesslogv3.AccessLogFilter_StatusCodeFilter:
		out.Status = comparison(s.StatusCodeFilter.GetComparison())
	case *accesslogv3.AccessLogFilter_DurationFilter:
		out.Duration = comparison(s.DurationFilter.GetComparison())
	case *accesslogv3.AccessLogFilter_NotHealthCheckFilter:
		out.NotHealthCheck = true
	case *accesslogv3.AccessLogFilter_RuntimeFilter:
		out.Sample = &mesh.LogSample{Fraction: *fraction(s.RuntimeFilter.GetPercentSampled()),
			Independent: s.RuntimeFilter.GetUseIndependentRandomness()}
	case *accesslogv3.AccessLogFilter_AndFilter:
		out.And, ok = logFilters(s.AndFilter.GetFilters(), join(path, "and_filter.filters"), f)
		return out, ok
	case *accesslogv3.AccessLogFilter_OrFilter:
		out.Or, ok = logFilters(s.OrFilter.GetFilters(), join(path, "or_filter.filters"), f)
		return out, ok
	case *accesslogv3.AccessLogFilter_HeaderFilter:
		m, ok := headerMatch(s.HeaderFilter.GetHeader(), join(path, "header_filter.header"), f)
		out.Header = &m
		return out, ok
	case *accesslogv3.AccessLogFilter_GrpcStatusFilter:
		out.GRPC = &mesh.GRPCStatuses{Exclude: s.GrpcStatusFilter.GetExclude()}
		for _, c := range s.GrpcStatusFilter.GetStatuses() {
			out.GRPC.Codes = append(out.GRPC.Codes, int64(c))
		}
	case *accesslogv3.AccessLogFilter_ResponseFlagFilter:
		out.Flags = s.ResponseFlagFilter.GetFlags()
		out.AnyFlag = len(out.Flags) == 0
	default:
		return out, false
	}
	return out, true
}

func logFilters(list []*accesslogv3.AccessLogFilter, path string, f *findings) (all []mesh.LogFilter, ok bool) {
	ok = true
	for i, p := range list {
		one, takes := logFilter(p, at(path, i), f)
		all, ok = append(all, one), ok && takes
	}
	return all, ok
}
