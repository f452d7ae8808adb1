// SPDX-License-Identifier: Apache-2.0

package mesh

// Buffer reads requests to their end before they go on (Envoy: extensions.filters.http.buffer.v3, for the filter and for routes).
type Buffer struct {
	Max      uint32 // bytes of content; 413 beyond
	Disabled bool   // of routes
}

func (*Buffer) filterConfig() {}
