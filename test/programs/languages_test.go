// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/rig"
)

// A Go server (its listening sockets speak MPTCP) and a Go client, IPv4 and IPv6, in one namespace and in two.
func TestGo(t *testing.T) {
	r := rig.New(t)
	node := r.NewNamespace()
	r.Serve("127.0.0.1:8080", r.Child("http-server", "127.0.0.1:8080"))
	r.Serve("[::1]:8080", r.Child("http-server", "[::1]:8080"))
	far := r.Child("http-server", "[::]:8080")
	far.Namespace = node
	r.Serve("["+node.V6+"]:8080", far)
	m := startMesh(r,
		rig.TCPService{Name: "v4", Address: "10.99.0.1:80", Endpoints: []string{"127.0.0.1:8080"}},
		rig.TCPService{Name: "v6", Address: "[fd99::1]:80", Endpoints: []string{"[::1]:8080"}},
		rig.TCPService{Name: "far4", Address: "10.99.0.2:80", Endpoints: []string{node.V4 + ":8080"}},
		rig.TCPService{Name: "far6", Address: "[fd99::2]:80", Endpoints: []string{"[" + node.V6 + "]:8080"}},
	)
	m.Run(60*time.Second, m.Child("http-client", "http://10.99.0.1:80/", "http://[fd99::1]:80/"))
	m.Run(60*time.Second, m.Child("http-client", "http://10.99.0.2:80/", "http://[fd99::2]:80/"))
	for _, service := range []string{"v4", "v6", "far4", "far6"} {
		m.socketTier(service, 12) // getpeername, 1 kept, 10 single
	}
}
