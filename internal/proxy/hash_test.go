// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/proxy/http1"
)

// A client without the cookie gets one that names its connection, in the form that Envoy writes.
func TestHashMakesCookies(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	value := xxHash64(client.LocalAddr().String()+l.Addr().String(), 0)
	hex := fmt.Sprintf("%016x", value)
	for _, c := range []struct {
		cookie mesh.HashCookie
		want   string
	}{
		{mesh.HashCookie{Name: "c", Make: true, TTL: time.Minute, Path: "/p",
			Attributes: []mesh.CookieAttribute{{Name: "SameSite", Value: "Strict"}, {Name: "Partitioned"}}},
			`c="` + hex + `"; Max-Age=60; Path=/p; SameSite=Strict; Partitioned; HttpOnly`},
		{mesh.HashCookie{Name: "c", Make: true}, `c="` + hex + `"; HttpOnly`},
		{mesh.HashCookie{Name: "c"}, ""},
	} {
		x := &exchange{c: &httpConn{from: addressOf(conn.RemoteAddr()), to: addressOf(conn.LocalAddr()), req: http1.Request{Path: "/"}}}
		x.match.route = &mesh.Route{Forward: &mesh.RouteAction{HashPolicy: []mesh.HashPolicy{{Cookie: &c.cookie}}}}
		hash, ok := x.hash()
		var got string
		if len(x.cookies) > 0 {
			got = x.cookies[0]
		}
		if got != c.want || ok != (c.want != "") || ok && hash != xxHash64(hex, 0) {
			t.Errorf("%+v: %q, %#x, %v, want %q", c.cookie, got, hash, ok, c.want)
		}
	}
}
