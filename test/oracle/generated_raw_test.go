// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"flag"
	"strings"
	"sync"
	"testing"

	"github.com/leno-mesh/leno/test/oracle/generate"
)

var genRaw = flag.Int("generate.raw", 60, "how many requests to generate that parsers may read differently")

// rawListeners buffers bodies, so that nothing of a request that is wrong behind its head goes upstream, and ends connections
// that wait for more; the time for heads is the shorter one.
const rawListeners = `{"version_info": "1", "resources": [
{"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "web", "address": {{address (port "web")}},
 "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
  {{hcm}}, "stat_prefix": "web", "delayed_close_timeout": "0.01s", "request_headers_timeout": "0.5s", "stream_idle_timeout": "1.5s",
  "common_http_protocol_options": {"idle_timeout": "1s"},
  "http_filters": [{"name": "b", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 1000}}, {{router}}],
  "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "blue"}}]}]}}}]}]},
{"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "version", "address": {{address (port "version")}},
 "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
  {{hcm}}, "stat_prefix": "version", "http_filters": [{{router}}],
  "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "version 1"}}}]}]}}}]}]}]}`

// TestGeneratedRaw compares how Envoy and leno read generated requests that are not well-formed, or only nearly.
func TestGeneratedRaw(t *testing.T) {
	if !full {
		t.Skip("Envoy is asked with -tags full")
	}
	allowed := loadDifferences(t)
	envoy, leno := bothSides(t)
	for _, d := range []*side{envoy, leno} {
		d.offer(t, rawListeners)
		if err := d.serves(1); err != nil {
			t.Fatal(err)
		}
	}
	steps := generate.New(*genSeed, 0).Raw(*genRaw)
	answers, errs := [2]string{}, [2]error{}
	var wg sync.WaitGroup
	for i, d := range []*side{envoy, leno} {
		wg.Go(func() { answers[i], errs[i] = d.play(steps) })
	}
	wg.Wait()
	if errs[0] != nil || errs[1] != nil {
		t.Fatalf("Envoy: %v, leno: %v", errs[0], errs[1])
	}
	parsed, err := parseSteps(steps)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range compare(parsed, parseRecording(allowed.apply("proxy", answers[0])), parseRecording(allowed.apply("proxy", answers[1]))) {
		t.Errorf("-generate.seed %d: %s\n%s", *genSeed, f, stepText(parsed, f))
	}
	t.Logf("%d requests, of which %d reached the upstream", *genRaw, strings.Count(answers[0], "\n> blue "))
}
