// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"os"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/rig"
)

func TestMain(m *testing.M) {
	os.Setenv("LENO_BIN", "/nonexistent") // these tests start no leno: do not build it
	os.Exit(rig.Main(m, Children()))
}

// The programs work on the bare connection, and a load notices a server that dies.
func TestPeersWithoutLeno(t *testing.T) {
	r := rig.New(t)
	r.Serve("127.0.0.1:80", r.Child("http-server", "127.0.0.1:80"))
	r.Run(30*time.Second, r.Child("http-client", "http://127.0.0.1:80/"))

	web := StartHTTPLoad(r, "http://127.0.0.1:80/", 2)
	web.Progress(20)
	if rep := web.Stop(); rep.Wrong != 0 || rep.Failed != 0 {
		t.Errorf("HTTP load: %+v", rep)
	}

	server := StartEcho(r, "127.0.0.1:7")
	load, steady := StartLoad(r, "127.0.0.1:7", 4), StartSteady(r, "127.0.0.1:7")
	load.Progress(20)
	server.Kill()
	r.Until(10*time.Second, "failures are reported", func() bool { return load.Report().Failed > 0 && steady.Report().Failed == 1 })
	StartEcho(r, "127.0.0.1:7")
	load.Progress(20)
	rep := load.Stop()
	if rep.Wrong != 0 || rep.Errors["connection refused"] == 0 {
		t.Errorf("load: %+v", rep)
	}
}
