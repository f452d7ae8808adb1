// SPDX-License-Identifier: Apache-2.0

//go:build full

package programs

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/leno-mesh/leno/test/rig"
)

// languages are the commands of the foreign peers, by name.
func languages(r *rig.Rig) map[string][]string {
	r.T.Helper()
	t := r.T.(*testing.T)
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	python := need(t, "python3", "python3")
	node := need(t, "node", "nodejs")
	java := need(t, "java", "default-jdk-headless")
	r.Run(60*time.Second, rig.Program{Args: []string{need(t, "javac", "default-jdk-headless"),
		"-d", r.Dir, filepath.Join(testdata, "Peer.java")}, Outside: true})
	return map[string][]string{
		"python": {python, filepath.Join(testdata, "peer.py")},
		"node":   {node, filepath.Join(testdata, "peer.mjs")},
		"java":   {java, "-cp", r.Dir, "Peer"},
	}
}

func program(command []string, args ...string) rig.Program {
	return rig.Program{Args: append(append([]string{}, command...), args...)}
}

// Every client against every server: Go, Python, Node and Java, IPv4 and IPv6.
func TestLanguages(t *testing.T) {
	r := rig.New(t)
	foreign := languages(r)
	var services []rig.TCPService
	var urls []string
	for i, language := range []string{"go", "python", "node", "java"} {
		for v, host := range []string{"127.0.0.1", "::1"} {
			port := 8000 + 10*i + v
			endpoint := fmt.Sprintf("127.0.0.1:%d", port)
			address := fmt.Sprintf("10.99.0.%d:80", i+1)
			if v == 1 {
				endpoint = fmt.Sprintf("[::1]:%d", port)
				address = fmt.Sprintf("[fd99::%d]:80", i+1)
			}
			if language == "go" {
				r.Serve(endpoint, r.Child("http-server", endpoint))
			} else {
				r.Serve(endpoint, program(foreign[language], "server", host, fmt.Sprint(port)))
			}
			services = append(services, rig.TCPService{Name: fmt.Sprintf("%s%d", language, v),
				Address: address, Endpoints: []string{endpoint}})
			urls = append(urls, "http://"+address+"/")
		}
	}
	m := startMesh(r, services...)
	m.Run(2*time.Minute, m.Child("http-client", urls...))
	for language := range foreign {
		m.Run(2*time.Minute, program(foreign[language], append([]string{"client"}, urls...)...))
	}
	for _, s := range services {
		m.socketTier(s.Name, 4*11) // each client: 1 kept, 10 single
	}
}
