// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
)

// connectError is why a connection to an address could not be opened, in the words of the system's C library
// (Envoy: connection_impl.cc, onWriteReady and connect). What the network answers comes later; the rest fails at once.
func connectError(err error, to netip.AddrPort) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return ""
	}
	text := errno.Error()
	text = strings.ToUpper(text[:1]) + text[1:]
	switch errno {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.ECONNRESET:
		return "delayed connect error: " + text
	}
	return "immediate connect error: " + text + "|remote address:" + to.String()
}

// failureFlags are the response flags of attempts without an answer (Envoy: router.cc, streamResetReasonToResponseFlag).
var failureFlags = map[failure]flag{connectFailure: flagConnectFailure, connectTimeout: flagConnectFailure, terminated: flagUpstreamEnded,
	overflow: flagOverflow, protocolError: flagUpstreamProtocolError, localReset: flagLocalReset}

// timeoutDetails are the response code details of timeouts of the upstream.
var timeoutDetails = map[cause]string{answerOverdue: "response_timeout", tryOverdue: "upstream_per_try_timeout",
	tryIdleOverdue: "upstream_per_try_idle_timeout"}

// resetDetails are the response code details of such an attempt.
func resetDetails(why failure, up *upstreamFacts) string {
	details, transport := "upstream_reset_before_response_started{", up.failure
	if up.interim {
		details = "upstream_reset_after_response_started{"
	}
	details += spacesToUnderscores(string(why))
	if transport != "" {
		details += "|" + spacesToUnderscores(transport)
	}
	return details + "}"
}

// brokenOff notes why an answer ends before its time.
func (x *exchange) brokenOff() {
	switch c := x.cause.Load(); c {
	case idleOverdue:
		x.blame("stream_idle_timeout", flagIdleTimeout)
	case streamOverdue:
		x.blame("max_duration_timeout")
	case answerOverdue, tryIdleOverdue:
		x.blame(timeoutDetails[c], flagRequestTimeout)
	case clientLeft:
		x.blame("downstream_remote_disconnect", flagClientEnded)
	case clientWrong:
		x.blame("http1.codec_error", flagProtocolError)
	case running: // the upstream did not keep what its head promised
		x.blame("upstream_reset_after_response_started{"+spacesToUnderscores(string(x.facts.brokenBy))+"}", failureFlags[x.facts.brokenBy])
	}
}
