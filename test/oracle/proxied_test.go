// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
)

// proxyLine reads the PROXY header that a connection begins with and says what is in it, with ports as elsewhere in recordings.
func proxyLine(r *bufio.Reader) (string, error) {
	const v2 = "\r\n\r\n\x00\r\nQUIT\n"
	begin, err := r.Peek(len(v2))
	if err != nil {
		return "", err
	}
	if string(begin) != v2 {
		line, err := r.ReadString('\n')
		words := strings.Split(line, " ")
		if err != nil || len(words) != 6 || !strings.HasSuffix(line, "\r\n") {
			return fmt.Sprintf("(%q)", line), err
		}
		return fmt.Sprintf("(%s %s %s:%s %s:%s)", words[0], words[1], words[2], words[4], words[3], strings.TrimSpace(words[5])), nil
	}
	head := make([]byte, len(v2)+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	rest := make([]byte, binary.BigEndian.Uint16(head[len(v2)+2:]))
	if _, err := io.ReadFull(r, rest); err != nil {
		return "", err
	}
	text := fmt.Sprintf("(v2 %x", head[len(v2):len(v2)+2])
	size := map[byte]int{0x11: 4, 0x21: 16}[head[len(v2)+1]]
	if size > 0 && len(rest) >= 2*size+4 {
		for _, at := range []int{0, 1} {
			text += fmt.Sprintf(" %s:%d", net.IP(rest[at*size:(at+1)*size]), binary.BigEndian.Uint16(rest[2*size+2*at:]))
		}
		rest = rest[2*size+4:]
	}
	if len(rest) > 0 {
		text += fmt.Sprintf(" %x", rest)
	}
	return text + ")", nil
}
