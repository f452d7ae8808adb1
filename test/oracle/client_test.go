// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds every wait for an answer; it is above Envoy's default route timeout of 15 s.
const patience = 20 * time.Second

// player runs the steps of a scenario against a data plane.
type player struct {
	w    *world
	dp   dataPlane
	conn *clientConn    // for keep
	logs map[string]int // bytes that were read of each log

	mu    *sync.Mutex
	dials map[string]int // connects by listener port
}

type clientConn struct {
	*net.TCPConn
	r *bufio.Reader
}

// dataPlane is a running Envoy or leno.
type dataPlane interface {
	stats() (map[string]string, error)
	// post asks the admin API to do something.
	post(path string) error
	// logPath is the file that a log step names.
	logPath(name string) string
	clusters() (map[string]string, error)
}

// play returns the answers to all steps, in normal form.
func (p *player) play(steps []step) (string, error) {
	defer p.drop()
	p.mu, p.dials, p.logs = new(sync.Mutex), map[string]int{}, map[string]int{}
	var b strings.Builder
	var running []func() error // steps beside the next one
	for _, st := range steps {
		if st.beside {
			running = append(running, p.beside(st, &b))
			continue
		}
		got, err := p.step(st)
		for _, wait := range running {
			err = errors.Join(err, wait())
		}
		running = nil
		if err != nil {
			return b.String(), fmt.Errorf("step %q: %w", st.label, err)
		}
		if st.warm {
			got = "(not compared)\n"
		}
		fmt.Fprintf(&b, "== %s\n%s", st.label, p.w.hidePorts(got))
	}
	return b.String(), nil
}

func (p *player) step(st step) (string, error) {
	text, err := p.w.expand(st.label, st.text)
	if err != nil {
		return "", err
	}
	st.text = text
	if st.moveFrom != "" {
		if err := os.Rename(filepath.Join(p.w.dir, st.moveFrom), filepath.Join(p.w.dir, st.moveTo)); err != nil {
			return "", err
		}
	}
	if st.writeFrom != "" {
		data, err := os.ReadFile(filepath.Join(p.w.dir, st.writeFrom))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(p.w.dir, st.writeTo), data, 0o644); err != nil {
			return "", err
		}
	}
	if st.zone != "" {
		if err := p.w.setZone(dnsPart + "-" + st.zone); err != nil {
			return "", err
		}
	}
	if st.post != "" {
		if err := p.dp.post(st.post); err != nil {
			return "", err
		}
	}
	if st.checksOf != "" {
		p.w.j.answerChecks(st.checksOf, strings.ReplaceAll(st.checksSay, "_", " "))
	}
	if st.checked {
		return p.w.j.takeChecks(), nil
	}
	if st.stats || st.clusters {
		return p.statistics(st)
	}
	if st.log != "" {
		return p.accessLog(st)
	}
	if st.until != "" {
		if err := p.poll(st); err != nil {
			return "", err
		}
	}
	if st.parallel > 0 {
		return p.together(st)
	}
	return p.repeated(st)
}

// poll repeats the step until its answer holds the wanted text.
func (p *player) poll(st step) error {
	limit := 10 * time.Second
	if st.within > 0 {
		limit = st.within
	}
	var last string
	for end := time.Now().Add(limit); time.Now().Before(end); {
		p.drop()
		p.w.j.take()
		var err error
		if last, err = p.once(st); err != nil {
			return err
		}
		if strings.Contains(p.w.hidePorts(last), strings.ReplaceAll(st.until, "_", " ")) {
			p.drop()
			return nil
		}
		time.Sleep(20 * time.Millisecond) // between two looks of a poll with a deadline
	}
	if st.within > 0 { // that it never comes is an answer too
		p.drop()
		return nil
	}
	return fmt.Errorf("did not come to %q, last answer:\n%s", st.until, last)
}

// beside starts a TCP dialog that runs while other steps do; what it returns waits for it and writes its answers.
func (p *player) beside(st step, b *strings.Builder) func() error {
	one := &player{w: p.w, dp: p.dp, mu: p.mu, dials: p.dials}
	var got string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer one.drop()
		got, err = one.once(st)
	}()
	return func() error {
		<-done
		fmt.Fprintf(b, "== %s\n%s", st.label, p.w.hidePorts(got))
		return err
	}
}

func (p *player) repeated(st step) (string, error) {
	var all groups
	conns := map[string]bool{}
	if st.cut != "" {
		text, _ := st.request()
		st.times, st.fresh = len(text), true
	}
	for i := range st.times {
		if st.fresh || i == 0 && !st.keep {
			p.drop()
		}
		if !st.countApart || i == 0 {
			p.w.j.take()
		}
		one := st
		one.text = strings.ReplaceAll(st.text, "(n)", strconv.Itoa(i))
		one.sent = i
		got, err := p.once(one)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		b.WriteString(got)
		if st.countApart {
			all.add(b.String())
			continue
		}
		p.w.j.settle()
		for _, s := range p.w.j.take() {
			normalSeen(&b, s)
			conns[fmt.Sprintf("%s %d", s.upstream, s.conn)] = true
		}
		all.add(b.String())
	}
	if st.countApart {
		quiet := 30 * time.Millisecond
		if st.random {
			quiet = 200 * time.Millisecond // how many will come is not known
		}
		p.w.j.await(st.apart, quiet)
		for _, s := range p.w.j.take() {
			var b strings.Builder
			normalSeen(&b, s)
			all.add(b.String())
			conns[fmt.Sprintf("%s %d", s.upstream, s.conn)] = true
		}
	}
	out := all.String()
	if st.countConns {
		out += fmt.Sprintf("(%d upstream connections)\n", len(conns))
	}
	return out, nil
}

// together sends the same request on several connections at once; answers and what upstreams saw are
// counted apart, since which belongs to which is unknown.
func (p *player) together(st step) (string, error) {
	p.drop()
	p.w.j.take()
	var all groups
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	for range st.parallel {
		wg.Go(func() {
			one := &player{w: p.w, dp: p.dp, mu: p.mu, dials: p.dials}
			defer one.drop()
			got, err := one.once(st)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			}
			all.add(got)
		})
	}
	wg.Wait()
	conns := map[string]bool{}
	for _, s := range p.w.j.take() {
		var b strings.Builder
		normalSeen(&b, s)
		all.add(b.String())
		conns[fmt.Sprintf("%s %d", s.upstream, s.conn)] = true
	}
	out := all.String()
	if st.countConns {
		out += fmt.Sprintf("(%d upstream connections)\n", len(conns))
	}
	return out, failed
}

func (p *player) once(st step) (string, error) {
	if p.conn == nil {
		port, err := p.w.port(st.to)
		if err != nil {
			return "", err
		}
		if !st.unowned {
			p.mu.Lock()
			p.dials[st.to]++
			p.mu.Unlock()
		}
		d, err := p.dialer(st)
		if err != nil {
			return "", err
		}
		c, err := d.Dial("tcp", net.JoinHostPort(st.address, strconv.Itoa(port)))
		if err != nil {
			return "< " + outcome(err) + "\n", nil
		}
		p.conn = &clientConn{c.(*net.TCPConn), bufio.NewReader(c)}
	}
	p.conn.SetDeadline(time.Now().Add(patience))
	if st.tcp {
		return p.dialog(st)
	}
	if st.cut != "" {
		return p.broken(st)
	}
	return p.http(st)
}

// broken sends the first bytes of the step's text and ends the connection, or its own direction of it.
func (p *player) broken(st step) (string, error) {
	defer p.drop()
	text, _ := st.request()
	if _, err := io.WriteString(p.conn, text[:st.sent]); err != nil {
		return "", err
	}
	if st.cut == "reset" {
		p.conn.SetLinger(0)
		return "", nil
	}
	p.conn.CloseWrite()
	if _, err := p.conn.r.ReadByte(); err != nil {
		return "< " + outcome(err) + "\n", nil
	}
	return "< (bytes)\n", nil
}

// dialer makes connections from the address and port that the step names.
func (p *player) dialer(st step) (*net.Dialer, error) {
	d := &net.Dialer{Timeout: patience}
	if st.from == "" && st.sport == "" {
		return d, nil
	}
	local := &net.TCPAddr{IP: net.ParseIP(st.from)}
	if st.sport != "" {
		var err error
		if local.Port, err = p.w.port(st.sport); err != nil {
			return nil, err
		}
	}
	d.LocalAddr = local
	d.Control = func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) }); cerr != nil {
			return cerr
		}
		return err
	}
	return d, nil
}

func (p *player) drop() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// outcome names how a connection failed or ended.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "(refused)"
	case errors.Is(err, syscall.ETIMEDOUT):
		return "(timed out)"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "(reset)"
	case errors.Is(err, io.EOF):
		return "(closed)"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "(broken off)"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "(silence)"
	}
	return "(" + err.Error() + ")"
}

// http sends the request of the step and reads its answers.
func (p *player) http(st step) (string, error) {
	head, body := st.request()
	method, _, _ := strings.Cut(st.text, " ")
	waits := !st.raw && strings.Contains(strings.ToLower(head), "\r\nexpect: 100-continue")
	if !waits && len(body) < 16<<10 { // in one piece, so that what Envoy has read when it answers is always the same
		head, body = head+body, ""
	}
	if _, err := io.WriteString(p.conn, head); err != nil {
		return "< " + outcome(err) + "\n", nil
	}
	conn, sent := p.conn, make(chan struct{})
	send := func() {
		defer close(sent)
		io.WriteString(conn, body)
	}
	if !waits {
		go send()
	}
	var b strings.Builder
	for n := 1; ; {
		m, err := readHead(p.conn.r)
		if err != nil {
			fmt.Fprintf(&b, "< %s\n", outcome(err))
			p.drop()
			break
		}
		if s := m.status(); s >= 100 && s < 200 && s != 101 {
			normalResponse(&b, m)
			if s == 100 && waits {
				waits = false
				go send()
			}
			continue
		}
		p.finish(&b, m, method)
		if n++; n > st.answers || p.conn == nil {
			break
		}
	}
	if waits {
		return b.String(), nil
	}
	conn.SetWriteDeadline(time.Now().Add(2 * time.Second)) // the answer is there: who reads no body by now never will
	<-sent
	return b.String(), nil
}

// finish reads the body of the final answer, and the end of the connection where it was announced.
func (p *player) finish(b *strings.Builder, m *message, method string) {
	s := m.status()
	none := method == "HEAD" || s == 204 || s == 304 || s == 101
	var err error
	if !none {
		err = m.readBody(p.conn.r, true)
	}
	normalResponse(b, m)
	if err != nil {
		fmt.Fprintf(b, "< %s\n", outcome(err))
		p.drop()
		return
	}
	if m.has("connection", "close") {
		// A reset says only that bytes were still under way; both are "closed".
		if _, err := p.conn.r.ReadByte(); err == nil {
			fmt.Fprintln(b, "< then (more bytes)")
		} else if end := outcome(err); end == "(closed)" || end == "(reset)" {
			fmt.Fprintln(b, "< then (closed)")
		} else {
			fmt.Fprintf(b, "< then %s\n", end)
		}
		p.drop()
	}
}

// unescape turns the escapes of raw texts into bytes.
var unescape = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", `\v`, "\v", `\0`, "\x00", `\xff`, "\xff", `\\`, `\`)

// request turns the text of a step into the head and the body to send.
func (st *step) request() (head, body string) {
	if st.raw {
		text := strings.ReplaceAll(st.text, "\n", "\r\n")
		return unescape.Replace(text), ""
	}
	head, body, _ = strings.Cut(st.text, "\n\n")
	head = strings.TrimRight(head, "\n")
	if st.body > 0 {
		body = string(pattern(st.body))
	}
	if st.head > 0 { // one field brings the head to that size
		const name = "\nx-fill: "
		head += name + strings.Repeat("a", max(0, st.head-len(head)-len(name)-8))
	}
	lower := strings.ToLower(head)
	switch {
	case strings.Contains(lower, "\ntransfer-encoding: chunked"):
		body, trailers, _ := strings.Cut(body, "trailers:\n")
		return strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n",
			chunked(strings.SplitAfter(body, "\n"), trailerLines(trailers))
	case body != "" && !strings.Contains(lower, "\ncontent-length:"):
		head += fmt.Sprintf("\ncontent-length: %d", len(body))
	}
	return strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n", body
}

func trailerLines(text string) []field {
	var all []field
	for _, line := range strings.Split(text, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			all = append(all, field{name, value})
		}
	}
	return all
}

// dialog runs a TCP conversation: "> text" sends a line and reads one, "shut" ends the own direction,
// "read" reads one line, "end" reads to the end.
func (p *player) dialog(st step) (string, error) {
	var b strings.Builder
	if st.wait > 0 {
		return p.idle(st.wait), nil
	}
	end := func(err error) {
		how := outcome(err)
		if b.Len() == 0 && (how == "(closed)" || how == "(reset)") {
			how = "(ended)" // whether bytes of ours made a reset of it is chance
		}
		fmt.Fprintf(&b, "< %s\n", how)
	}
	held := false
	defer func() {
		if !held {
			p.drop()
		}
	}()
	var w interface {
		io.Writer
		CloseWrite() error
	} = p.conn.TCPConn
	r := p.conn.r
	for _, line := range strings.Split(strings.TrimSpace(st.text), "\n") {
		word, arg, _ := strings.Cut(line, " ")
		all := false
		switch word {
		case "":
			continue
		case ">":
			if _, err := io.WriteString(w, arg+"\n"); err != nil {
				end(err)
				return b.String(), nil
			}
		case "send":
			data, err := hex.DecodeString(strings.ReplaceAll(arg, " ", ""))
			if err != nil {
				return "", fmt.Errorf("dialog line %q: %w", line, err)
			}
			if _, err := w.Write(data); err != nil {
				end(err)
				return b.String(), nil
			}
			continue
		case "write":
			if _, err := io.WriteString(w, unescape.Replace(arg)); err != nil {
				end(err)
				return b.String(), nil
			}
			continue
		case "pause":
			d, err := time.ParseDuration(arg)
			if err != nil {
				return "", fmt.Errorf("dialog line %q: %w", line, err)
			}
			time.Sleep(d)
			continue
		case "tls":
			s, err := startTLS(p.conn.TCPConn, arg)
			if err != nil {
				end(err)
				return b.String(), nil
			}
			w, r = s, bufio.NewReader(s)
			continue
		case "hold":
			held = true
			continue
		case "seen":
			n, err := strconv.Atoi(arg)
			if err != nil {
				return "", err
			}
			p.w.j.heads(n)
			continue
		case "shut":
			w.CloseWrite()
			all = true
		case "read":
		case "readbody":
			n, err := parseSize(arg)
			if err != nil {
				return "", err
			}
			body := make([]byte, n)
			got, err := io.ReadFull(r, body)
			normalBody(&b, "<", body[:got])
			if err != nil {
				end(err)
			}
			continue
		case "end", "hear":
			all = true
		default:
			return "", fmt.Errorf("dialog line %q: must begin with >, send, write, pause, tls, shut, seen, read, readbody, hold, hear or end", line)
		}
		for {
			got, err := r.ReadString('\n')
			if got != "" {
				fmt.Fprintf(&b, "< %s\n", strings.TrimSuffix(got, "\n"))
			}
			if err != nil {
				end(err)
				if word == "hear" {
					break
				}
				return b.String(), nil
			}
			if !all {
				break
			}
		}
	}
	return b.String(), nil
}

// idle says whether the data plane ends the connection within d; the connection stays otherwise.
func (p *player) idle(d time.Duration) string {
	p.conn.SetReadDeadline(time.Now().Add(d))
	_, err := p.conn.r.Peek(1)
	switch {
	case err == nil:
		return "< (bytes)\n"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "< (open)\n"
	}
	p.drop()
	return "< " + outcome(err) + "\n"
}

// statistics reads the named values, one a line: until they stand still, or with until once they hold that text.
func (p *player) statistics(st step) (string, error) {
	source := p.dp.stats
	if st.clusters {
		source = p.dp.clusters
	}
	read := func() (string, error) {
		all, err := source()
		if err != nil {
			return "", err
		}
		var b strings.Builder
		for _, name := range strings.Fields(st.text) {
			v, ok := all[name]
			if !ok {
				v = "(not there)"
			}
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
		return b.String(), nil
	}
	if !st.keep {
		p.drop()
	}
	last, err := read()
	if st.steady > 0 {
		now := last
		for since, end := time.Now(), time.Now().Add(10*time.Second); err == nil && time.Since(since) < st.steady; now, err = read() {
			if now != last {
				last, since = now, time.Now()
			}
			if time.Now().After(end) {
				return "", fmt.Errorf("did not stand still for %v, last:\n%s", st.steady, last)
			}
			time.Sleep(10 * time.Millisecond) // between two looks of a poll with a deadline
		}
		return "(steady)\n", err
	}
	if st.until != "" {
		want := strings.ReplaceAll(st.until, "_", " ")
		for end := time.Now().Add(10 * time.Second); err == nil && !strings.Contains(last, want); last, err = read() {
			if time.Now().After(end) {
				return "", fmt.Errorf("did not come to %q, last:\n%s", want, last)
			}
			time.Sleep(10 * time.Millisecond) // between two looks of a poll with a deadline
		}
		if err != nil {
			return "", err
		}
		return read() // some of the values may be older than the one that was waited for
	}
	for range 50 {
		if err != nil {
			return "", err
		}
		time.Sleep(100 * time.Millisecond) // between two looks of a poll that is bounded
		var now string
		if now, err = read(); now == last {
			return now, err
		}
		last = now
	}
	return last, err
}
