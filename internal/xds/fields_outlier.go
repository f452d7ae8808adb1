// SPDX-License-Identifier: Apache-2.0

package xds

// outlierFields are the rows of outlier detection.
func outlierFields() section {
	return section{name: "outlier_detection", title: "Outlier detection", msg: "envoy.config.cluster.v3.OutlierDetection", rows: []row{
		{path: "consecutive_5xx", rule: honoured, note: "absent: 5; 0: never"},
		{path: "consecutive_gateway_failure", rule: honoured, note: "absent: 5; 0: never"},
		{path: "split_external_local_origin_errors", rule: honoured},
		{path: "consecutive_local_origin_failure", rule: honoured, note: "absent: 5; 0: never"},
		{path: "enforcing_consecutive_5xx", rule: honoured, note: "absent: 100"},
		{path: "enforcing_consecutive_gateway_failure", rule: honoured, note: "absent: 0"},
		{path: "enforcing_consecutive_local_origin_failure", rule: honoured, note: "absent: 100"},
		{path: "enforcing_success_rate", rule: honoured, note: "absent: 100"},
		{path: "enforcing_local_origin_success_rate", rule: honoured, note: "absent: 100"},
		{path: "enforcing_failure_percentage", rule: honoured, note: "absent: 0"},
		{path: "enforcing_failure_percentage_local_origin", rule: honoured, note: "absent: 0"},
		{path: "interval", rule: honoured, note: "absent: 10 s"},
		{path: "success_rate_minimum_hosts", rule: honoured, note: "absent: 5"},
		{path: "success_rate_request_volume", rule: honoured, note: "absent: 100"},
		{path: "success_rate_stdev_factor", rule: honoured, note: "absent: 1900"},
		{path: "failure_percentage_minimum_hosts", rule: honoured, note: "absent: 5"},
		{path: "failure_percentage_request_volume", rule: honoured, note: "absent: 50"},
		{path: "failure_percentage_threshold", rule: honoured, note: "absent: 85"},
		{path: "base_ejection_time", rule: honoured, note: "absent: 30 s"},
		{path: "max_ejection_time", rule: honoured, note: "absent: 300 s, or base_ejection_time if that is longer"},
		{path: "max_ejection_time_jitter", rule: honoured, note: "absent: 0 s"},
		{path: "max_ejection_percent", rule: honoured, note: "absent: 10"},
		{path: "always_eject_one_host", rule: honoured},
		{path: "successful_active_health_check_uneject_host", rule: honoured},
		{path: "monitors", rule: refused, note: "use the rows and rates of the message itself"},
		{path: "detect_degraded_hosts", rule: refused, note: "use health_status DEGRADED"},
	}}
}

// errorMatcherFields are the rows of what outlier detection takes for a failure.
func errorMatcherFields() section {
	const response = "outlier detection sees the head of the answer: use http_response_headers_match"
	return section{name: "error_matcher", title: "Answers that are failures", msg: "envoy.config.common.matcher.v3.MatchPredicate", rows: []row{
		{path: "or_match.rules", rule: honoured, into: []string{"error_matcher"}},
		{path: "and_match.rules", rule: honoured, into: []string{"error_matcher"}},
		{path: "not_match", rule: honoured, into: []string{"error_matcher"}},
		{path: "any_match", rule: honoured},
		{path: "http_response_headers_match.headers", rule: honoured, into: []string{"header_match"}},
		{path: "http_request_headers_match", rule: refused, note: response},
		{path: "http_request_trailers_match", rule: refused, note: response},
		{path: "http_response_trailers_match", rule: refused, note: response},
		{path: "http_request_generic_body_match", rule: refused, note: response},
		{path: "http_response_generic_body_match", rule: refused, note: response},
	}}
}
