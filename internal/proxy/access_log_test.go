// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// TestLineOfEachRequest lets many clients ask at the same time: each request has one line by the time the proxy has ended, those of
// one connection in their order.
func TestLineOfEachRequest(t *testing.T) {
	const clients, requests = 8, 50
	s := newServer(t, say("hello"))
	r, at := newRig(t, time.Minute), freeAddress(t)
	path := filepath.Join(t.TempDir(), "log")
	l := routeTo(at, "blue")
	l.Chains[0].HTTP.AccessLogs = []mesh.AccessLog{{Path: path, Line: mesh.LogLine{Text: mesh.Format{
		{Command: mesh.CommandRequestHeader, Header: ":path"}, {Text: " "}, {Command: mesh.CommandResponseCode}, {Text: "\n"}}}}}
	r.update(&mesh.Scope{Listeners: []*mesh.Listener{l}, Clusters: []*mesh.Cluster{clusterOf("blue", s.address)}})
	var wg sync.WaitGroup
	for i := range clients {
		c := dial(t, at)
		wg.Go(func() {
			for k := range requests {
				c.send(fmt.Sprintf("GET /%d/%02d HTTP/1.1\r\nhost: a.test\r\n\r\n", i, k))
				c.want(200, "hello")
			}
		})
	}
	wg.Wait()
	r.stop()
	<-r.done
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := [clients]int{}
	for line := range strings.Lines(string(data)) {
		var i, k, code int
		if _, err := fmt.Sscanf(line, "/%d/%d %d", &i, &k, &code); err != nil || code != 200 || i >= clients || k != next[i] {
			t.Fatalf("line %q: client %d is at %d (%v)", line, i, next[min(i, clients-1)], err)
		}
		next[i]++
	}
	for i, n := range next {
		if n != requests {
			t.Errorf("client %d: %d lines for %d requests", i, n, requests)
		}
	}
}
