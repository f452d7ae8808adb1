// SPDX-License-Identifier: Apache-2.0

package mesh

// LocalReply changes the answers that are given without an upstream (Envoy: LocalReplyConfig).
type LocalReply struct {
	// Mappers are asked in turn; the first whose filter takes the answer changes it.
	Mappers []ReplyMapper
	// Body is how bodies are written where the mapper does not say; nil: as they are.
	Body *ReplyBody
}

// ReplyMapper is one kind of change.
type ReplyMapper struct {
	Filter  LogFilter
	Status  int     // 200 to 599; 0: it stays
	Text    *string // instead of the answer's own; nil: that stays
	Headers HeaderOps
	Body    *ReplyBody // nil: as LocalReply.Body says
}

// ReplyBody writes a body.
type ReplyBody struct {
	Line        LogLine
	ContentType string
}
