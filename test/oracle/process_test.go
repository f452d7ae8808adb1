// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a running Envoy or leno with its admin API.
type process struct {
	cmd    *exec.Cmd
	log    string
	ended  chan error
	client *http.Client
	base   string // of admin URLs
}

// start runs a command whose output goes to a file in dir.
func start(dir string, attr *syscall.SysProcAttr, binary string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, filepath.Base(binary)+".log"), ended: make(chan error, 1),
		client: &http.Client{Timeout: 5 * time.Second}}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(binary, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), "ORACLE_WORDS=two words")
	p.cmd.SysProcAttr = attr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p, nil
}

// ready polls the admin API until the data plane serves.
func (p *process) ready() error {
	end := time.Now().Add(30 * time.Second)
	var last error
	for time.Now().Before(end) {
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("ended before it was ready: %v\n%s", err, p.output())
		default:
		}
		if _, last = p.get("/ready"); last == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond) // between two looks of a poll with a deadline
	}
	return fmt.Errorf("not ready: %w\n%s", last, p.output())
}

func (p *process) get(path string) (string, error) {
	r, err := p.client.Get(p.base + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != 200 {
		err = fmt.Errorf("%s: status %d: %s", path, r.StatusCode, b)
	}
	return string(b), err
}

// post implements dataPlane.
func (p *process) post(path string) error {
	r, err := p.client.Post(p.base+path, "", nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != 200 {
		return fmt.Errorf("POST %s: status %d", path, r.StatusCode)
	}
	return nil
}

// stats reads /stats, which both answer as "name: value" lines.
func (p *process) stats() (map[string]string, error) {
	text, err := p.get("/stats")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			all[name] = value
		}
	}
	return all, nil
}

// clusters reads the values of /clusters.
func (p *process) clusters() (map[string]string, error) {
	text, err := p.get("/clusters")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if at := strings.LastIndex(line, "::"); at >= 0 {
			all[line[:at]] = line[at+len("::"):]
		}
	}
	return all, nil
}

func (p *process) output() string {
	b, _ := os.ReadFile(p.log)
	if at := bytes.Index(b, []byte("\npanic: ")); at >= 0 {
		b = b[at:] // the reason comes first
		return string(b[:min(len(b), 3000)])
	}
	return string(b[max(0, len(b)-1500):])
}

// stop ends the process: by sig, by force after 10 s.
func (p *process) stop(sig os.Signal) error {
	p.client.CloseIdleConnections()
	p.cmd.Process.Signal(sig)
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		p.cmd.Process.Kill()
		<-p.ended
		return errors.New("did not stop in 10 s")
	}
}

// startEnvoy runs Envoy with one worker, so that its round robin is one ring, as leno's.
func startEnvoy(binary string, w *world, more ...string) (*process, error) {
	port, err := newPort()
	if err != nil {
		return nil, err
	}
	admin := fmt.Sprintf(`{"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}}}}`, port)
	args := append([]string{"-c", filepath.Join(w.dir, "bootstrap.yaml"), "--config-yaml", admin,
		"--concurrency", "1", "--file-flush-interval-msec", flushInterval, "--disable-hot-restart", "--log-level", "warning",
		"--service-node", "oracle", "--service-cluster", "oracle"}, more...)
	p, err := start(w.dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}, binary, args...)
	if err != nil {
		return nil, err
	}
	p.base = fmt.Sprintf("http://127.0.0.1:%d", port)
	return p, nil
}

// lenoPlace is where a leno under test runs: all its own, so that many run beside each other.
type lenoPlace struct {
	tier, cgroup, pins string
	outside            string // cgroup folder for the agent itself; "": that of the test
}

func startLeno(binary string, w *world, at lenoPlace) (*process, error) {
	state := filepath.Join(w.dir, "state")
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if at.outside != "" {
		dir, err := os.Open(at.outside)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	}
	p, err := start(w.dir, attr, binary, "run", "-c", filepath.Join(w.dir, "bootstrap.yaml"), "--tier="+at.tier,
		"--service-node", "oracle", "--service-cluster", "oracle",
		"--file-flush-interval-msec", flushInterval, "--cgroup", at.cgroup, "--pin-dir", at.pins, "--state-dir", state)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(state, "admin.sock")
	p.base = "http://localhost"
	p.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	return p, nil
}
