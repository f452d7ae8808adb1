// SPDX-License-Identifier: Apache-2.0

package xds

// Access logs watch only: what leno cannot write is skipped, whole logs at a time, and never written wrong.
const (
	otherLogs    = "leno writes envoy.access_loggers.file, .stdout and .stderr"
	noSuchLog    = "its log is not written"
	upstreamLogs = "attempts are not logged apart; give access_log of the connection manager"
	flushNever   = "a line is written at the end only"
)

// logRow is where a list of access logs stands.
func logRow(path string) row {
	return row{path: path, rule: honoured, note: "docs/formats.md lists the command operators", into: []string{"access_log"}}
}

// logFields are the rows of access logs and of formats.
func logFields() []section {
	return []section{
		{name: "access_log", title: "Access logs", msg: "envoy.config.accesslog.v3.AccessLog", rows: []row{
			{path: "name", rule: honoured, note: "a name only"},
			{path: "filter", rule: honoured, into: []string{"log_filter"}},
			{path: "typed_config", rule: skipped, note: otherLogs, into: []string{"file_log", "stdout_log", "stderr_log"}},
		}},
		{name: "log_filter", title: "Conditions of access logs", msg: "envoy.config.accesslog.v3.AccessLogFilter",
			rows: filterRows("log_filter", skipped, noSuchLog)},
		{name: "reply_filter", title: "Conditions of local replies", msg: "envoy.config.accesslog.v3.AccessLogFilter",
			rows: filterRows("reply_filter", refused, "local replies are not told apart by it")},
		{name: "file_log", title: "Access logs in files", msg: "envoy.extensions.access_loggers.file.v3.FileAccessLog", rows: []row{
			{path: "path", rule: honoured, note: "opened when its listener is, and by /reopen_logs and SIGUSR1"},
			{path: "format", rule: honoured},
			{path: "json_format", rule: honoured},
			{path: "typed_json_format", rule: honoured},
			{path: "log_format", rule: honoured, into: []string{"log_format"}},
		}},
		{name: "stdout_log", title: "Access logs on the standard output", msg: "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
			rows: []row{{path: "log_format", rule: honoured, into: []string{"log_format"}}}},
		{name: "stderr_log", title: "Access logs on the standard error output", msg: "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
			rows: []row{{path: "log_format", rule: honoured, into: []string{"log_format"}}}},
		{name: "log_format", title: "Formats of access logs", msg: "envoy.config.core.v3.SubstitutionFormatString",
			rows: append(formatRows(skipped, noSuchLog), row{path: "content_type", rule: skipped, note: "a log has none"})},
		{name: "reply_format", title: "Formats of local replies", msg: "envoy.config.core.v3.SubstitutionFormatString",
			rows: append(formatRows(refused, "the reply would be another"), row{path: "content_type", rule: honoured})},
		{name: "req_without_query", title: "REQ_WITHOUT_QUERY", msg: "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery"},
	}
}

// filterRows are the rows of a condition; other is the rule for those that leno does not have.
func filterRows(self string, other rule, why string) []row {
	return []row{
		{path: "status_code_filter.comparison.op", rule: honoured},
		{path: "status_code_filter.comparison.value.default_value", rule: honoured},
		{path: "status_code_filter.comparison.value.runtime_key", rule: honoured, note: "a name only: there are no runtime values"},
		{path: "duration_filter.comparison.op", rule: honoured},
		{path: "duration_filter.comparison.value.default_value", rule: honoured},
		{path: "duration_filter.comparison.value.runtime_key", rule: honoured, note: "a name only: there are no runtime values"},
		{path: "not_health_check_filter{}", rule: honoured},
		{path: "runtime_filter.runtime_key", rule: honoured, note: "a name only: there are no runtime values"},
		{path: "runtime_filter.percent_sampled.numerator", rule: honoured},
		{path: "runtime_filter.percent_sampled.denominator", rule: honoured},
		{path: "runtime_filter.use_independent_randomness", rule: honoured},
		{path: "and_filter.filters", rule: honoured, into: []string{self}},
		{path: "or_filter.filters", rule: honoured, into: []string{self}},
		{path: "header_filter.header", rule: honoured, into: []string{"header_match"}},
		{path: "response_flag_filter.flags", rule: honoured},
		{path: "traceable_filter", rule: other, note: "traces are not made; " + why},
		{path: "grpc_status_filter.statuses", rule: honoured},
		{path: "grpc_status_filter.exclude", rule: honoured},
		{path: "metadata_filter", rule: other, note: "there is no dynamic metadata; " + why},
		{path: "log_type_filter", rule: other, note: flushNever + "; " + why},
		{path: "extension_filter", rule: other, note: why + "; give one of the other filters"},
	}
}

// formatRows are the rows of a format, but for content_type.
func formatRows(other rule, why string) []row {
	return []row{
		{path: "text_format", rule: honoured},
		{path: "text_format_source.inline_string", rule: honoured},
		{path: "text_format_source.inline_bytes", rule: honoured},
		{path: "text_format_source.filename", rule: honoured, note: "read when the listener is"},
		{path: "text_format_source.environment_variable", rule: other, note: why + "; give inline_string or filename"},
		{path: "json_format", rule: honoured},
		{path: "omit_empty_values", rule: honoured},
		{path: "json_format_options.sort_properties", rule: honoured, note: "they are always sorted, as in Envoy"},
		{path: "formatters.name", rule: honoured},
		{path: "formatters.typed_config", rule: other, note: why + "; leno accepts req_without_query", into: []string{"req_without_query"}},
	}
}
