// SPDX-License-Identifier: Apache-2.0

// Package oracle compares leno with Envoy. Its corpus, testdata/*.txtar, holds
// scenarios: an Envoy bootstrap, what clients send, and what Envoy answered.
//
//	go test ./test/oracle                        leno against the recorded answers
//	go test -tags full ./test/oracle             also Envoy itself against them
//	go test ./test/oracle -record [-run .../x]   ask Envoy again and rewrite them
//
// A new scenario is a new file and one run with -record; testdata/README.md
// describes the form. What may differ is the table in docs/DIFFERENCES.md.
//
// It is not for what only leno has (kernel state, restarts, its own reports)
// and measures nothing.
package oracle
