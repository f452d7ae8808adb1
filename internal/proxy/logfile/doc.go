// SPDX-License-Identifier: Apache-2.0

// Package logfile writes lines to files behind the back of those who produce
// them: a line is copied into a bounded buffer and never waits for a disk. It
// does not know what the lines say (package proxy does), and it is not the
// agent's own log.
package logfile
