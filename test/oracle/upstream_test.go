// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// seen is one request that reached an upstream.
type seen struct {
	upstream string
	conn     int // number of the connection, per upstream
	request  *message
	unread   bool // the body was not read
}

// journal collects what upstreams saw, in order of arrival.
type journal struct {
	mu       sync.Mutex
	all      []*seen
	reading  int            // requests whose head has come and that are not in all yet
	closing  int            // connections that are closed without a word after their answer
	attempts map[string]int // of one request, by x-request-id

	checks  map[string]string // what an upstream is to say to health checks, by its name
	checked map[string]bool   // health checks that came, in normal form
	over    map[string]int    // and over how many connections they came, by upstream
}

// healthCheck: health checks begin with this: the path of a request, the line of a dialog. They come when they like, so they are in no record of
// a step.
const healthCheck = "check"

// answerChecks says how an upstream answers health checks from now on.
func (j *journal) answerChecks(upstream, words string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.checks == nil {
		j.checks = map[string]string{}
	}
	j.checks[upstream] = words
}

// check notes a health check, the first one of its connection or not, and returns what the upstream is to say.
func (j *journal) check(upstream, normal string, first bool) (words string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.checked == nil {
		j.checked, j.over = map[string]bool{}, map[string]int{}
	}
	if first {
		j.over[upstream]++
	}
	j.checked[normal] = true
	return j.checks[upstream]
}

// takeChecks returns the different health checks that came since the last call.
func (j *journal) takeChecks() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Sorted(maps.Keys(j.checked))
	for _, upstream := range slices.Sorted(maps.Keys(j.over)) {
		if n := j.over[upstream]; n > 1 {
			all = append(all, fmt.Sprintf("> %s was checked over several connections\n", upstream))
		}
	}
	j.checked = nil
	return strings.Join(all, "")
}

// attempt counts the attempts of a request: 1 for the first.
func (j *journal) attempt(id string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.attempts == nil {
		j.attempts = map[string]int{}
	}
	j.attempts[id]++
	return j.attempts[id]
}

// begin notes a request whose body is still read; add follows.
func (j *journal) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reading++
}

// settle waits until what the data plane has sent is in the journal: a client may have its answer before an upstream
// has noticed that its request was broken off, or has closed a connection that would otherwise be used again.
func (j *journal) settle() {
	const grace, limit = 5 * time.Millisecond, time.Second
	for begun := time.Now(); time.Since(begun) < limit; time.Sleep(time.Millisecond) {
		j.mu.Lock()
		done := j.reading == 0 && j.closing == 0 && (len(j.all) > 0 || time.Since(begun) > grace)
		j.mu.Unlock()
		if done {
			return
		}
	}
}

// await waits until n requests have come, and until no more come for the time quiet.
func (j *journal) await(n int, quiet time.Duration) {
	const limit = 5 * time.Second
	last, since := -1, time.Now()
	for begun := time.Now(); time.Since(begun) < limit; time.Sleep(5 * time.Millisecond) {
		j.mu.Lock()
		now, reading := len(j.all), j.reading
		j.mu.Unlock()
		if now != last || reading > 0 {
			last, since = now, time.Now()
		}
		if now >= n && time.Since(since) >= quiet {
			return
		}
	}
}

// heads waits until the heads of n requests have come.
func (j *journal) heads(n int) {
	for begun := time.Now(); time.Since(begun) < 5*time.Second; time.Sleep(5 * time.Millisecond) {
		j.mu.Lock()
		now := len(j.all) + j.reading
		j.mu.Unlock()
		if now >= n {
			return
		}
	}
}

// close notes the beginning and the end (n 1 and -1) of a silent close.
func (j *journal) close(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closing += n
}

func (j *journal) add(s *seen) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, s)
	j.reading--
}

// take returns what came since the last call.
func (j *journal) take() []*seen {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := j.all
	j.all = nil
	return all
}

// listenSomewhere opens a port on all addresses of both families, so that 127.0.0.2 and ::1 reach it too.
func listenSomewhere() (int, net.Listener, error) {
	for range 2000 {
		p := portsFrom()
		if l, err := net.Listen("tcp", ":"+strconv.Itoa(p)); err == nil {
			return p, l, nil
		}
	}
	return 0, nil, fmt.Errorf("no free port between 12000 and 32000")
}

// servers runs accept loops; close ends them and their connections.
type servers struct {
	mu    sync.Mutex
	open  map[io.Closer]bool
	ended bool
	wg    sync.WaitGroup
}

func (s *servers) hold(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		c.Close()
		return false
	}
	if s.open == nil {
		s.open = map[io.Closer]bool{}
	}
	s.open[c] = true
	return true
}

func (s *servers) release(c io.Closer) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *servers) close() {
	s.mu.Lock()
	s.ended = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *servers) serve(l net.Listener, handle func(conn *net.TCPConn, number int)) {
	if !s.hold(l) {
		return
	}
	s.wg.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !s.hold(c) {
				return
			}
			s.wg.Go(func() {
				defer s.release(c)
				handle(c.(*net.TCPConn), n)
			})
		}
	})
}

// httpUpstream answers as the request's x-answer field tells it; testdata/README.md lists the words.
type httpUpstream struct {
	name    string
	j       *journal
	proxied bool // connections begin with a PROXY header
}

func (u *httpUpstream) handle(c *net.TCPConn, number int) {
	r := bufio.NewReader(c)
	name := u.name
	if a := c.LocalAddr().(*net.TCPAddr).IP; !a.Equal(net.IPv4(127, 0, 0, 1)) {
		name += "@" + a.String()
	}
	if u.proxied {
		line, err := proxyLine(r)
		if err != nil {
			return
		}
		name += " " + line
	}
	for checks := 0; ; {
		m, err := readHead(r)
		if err != nil {
			return
		}
		if _, path, _ := m.request(); strings.HasPrefix(path, "/"+healthCheck) {
			if checks++; !u.check(c, r, m, name, checks == 1) {
				return
			}
			continue
		}
		u.j.begin()
		s := &seen{upstream: name, conn: number, request: m}
		a, err := parseAnswer(m.get("x-answer"))
		if err != nil {
			a = answer{status: "299", body: err.Error()}
		}
		if n := u.j.attempt(m.get("x-request-id")); a.first > 0 && n > a.first || a.only != "" && a.only != name {
			a = answer{status: "200", delay: a.then}
		}
		a.upstream = name
		if m.has("expect", "100-continue") && !a.early {
			fmt.Fprint(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		if a.early {
			s.unread = true
		} else if err := m.readBody(r, false); err != nil {
			s.unread = true
			u.j.add(s)
			return
		}
		u.j.add(s)
		method, _, _ := m.request()
		if a.raw != nil {
			u.j.close(1)
			a.write(c, method)
			c.Close()
			u.j.close(-1)
			return
		}
		if !a.write(c, method) {
			return
		}
		if m.has("connection", "upgrade") && a.status == "101" {
			echo(c, c, r, name)
			return
		}
	}
}

// check answers a health check; false: the connection ends.
func (u *httpUpstream) check(c *net.TCPConn, r *bufio.Reader, m *message, name string, first bool) bool {
	if m.readBody(r, false) != nil {
		return false
	}
	var b strings.Builder
	normalSeen(&b, &seen{upstream: name, request: m})
	words := u.j.check(name, b.String(), first)
	if words == "" {
		words = m.get("x-answer")
	}
	a, err := parseAnswer(words)
	if err != nil {
		a = answer{status: "299", body: err.Error()}
	}
	if a.only != "" && a.only != name {
		a = answer{status: "200"}
	}
	a.upstream = name
	method, _, _ := m.request()
	return a.write(c, method)
}

// answer is what x-answer asks for.
type answer struct {
	upstream, status, body string
	fields, trailers       []field
	interim                []string
	delay, gap             time.Duration
	chunked, close, early  bool
	reset, hangup          bool
	cut, bare              bool
	raw                    *string
	upto                   int           // with raw: only that many bytes of it; -1: all
	then                   time.Duration // delay of the other answers, with first and only
	first                  int           // only for the first attempts of a request; 0: for all
	only                   string        // only by the upstream of that name
}

func parseAnswer(text string) (answer, error) {
	a := answer{status: "200", upto: -1}
	for _, word := range strings.Split(text, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(word), " ")
		var err error
		switch key {
		case "":
		case "status":
			a.status = value
		case "body":
			a.body = value
		case "size":
			var n int
			n, err = parseSize(value)
			a.body = string(pattern(n))
		case "long":
			var n int
			n, err = parseSize(value)
			a.fields = append(a.fields, field{"x-long", strings.Repeat("v", n)})
		case "header", "trailer":
			name, v, _ := strings.Cut(value, ":")
			f := field{name, strings.TrimSpace(v)}
			if key == "header" {
				a.fields = append(a.fields, f)
			} else {
				a.trailers = append(a.trailers, f)
			}
		case "interim":
			a.interim = append(a.interim, value)
		case "delay":
			a.delay, err = time.ParseDuration(value)
		case "gap":
			a.gap, err = time.ParseDuration(value)
		case "first":
			a.first, err = strconv.Atoi(value)
		case "then":
			a.then, err = time.ParseDuration(value)
		case "only":
			a.only = value
		case "chunked":
			a.chunked = true
		case "close":
			a.close = true
		case "early":
			a.early = true
		case "reset":
			a.reset = true
		case "hangup":
			a.hangup = true
		case "cut":
			a.cut = true
		case "bare":
			a.bare = true
		case "upto":
			a.upto, err = strconv.Atoi(value)
		case "raw":
			text := unescape.Replace(strings.ReplaceAll(value, "%3b", ";"))
			a.raw = &text
		default:
			err = errors.New("unknown word")
		}
		if err != nil {
			return a, fmt.Errorf("x-answer: %s: %w", word, err)
		}
	}
	return a, nil
}

// write sends the answer; false: the connection ends.
func (a *answer) write(c *net.TCPConn, method string) bool {
	if a.delay > 0 {
		time.Sleep(a.delay) // what the scenario asks for: a slow upstream
	}
	if a.reset {
		c.SetLinger(0)
	}
	if a.hangup || a.reset && a.raw == nil {
		return false
	}
	if a.raw != nil {
		text := *a.raw
		if a.upto >= 0 {
			text = text[:min(a.upto, len(text))]
		}
		io.WriteString(c, text)
		return false
	}
	for _, i := range a.interim {
		fmt.Fprintf(c, "HTTP/1.1 %s Interim\r\nx-interim: yes\r\n\r\n", i)
	}
	body := a.body
	if body == "" && !a.bare {
		body = "hello from " + a.upstream + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %s Answer\r\n", a.status)
	for _, f := range a.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	if a.close {
		b.WriteString("connection: close\r\n")
	}
	noBody := method == "HEAD" || a.status == "204" || a.status == "304" || strings.HasPrefix(a.status, "1")
	switch {
	case a.status == "204" || strings.HasPrefix(a.status, "1"):
	case a.chunked || a.trailers != nil:
		b.WriteString("transfer-encoding: chunked\r\n")
		body = chunked(strings.SplitAfter(body, "\n"), a.trailers)
	case a.bare && a.close: // the end of the connection ends the body
	default:
		fmt.Fprintf(&b, "content-length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	if noBody {
		body = ""
	}
	if a.cut {
		body = body[:len(body)/2]
	}
	if a.gap > 0 {
		io.WriteString(c, b.String())
		time.Sleep(a.gap) // what the scenario asks for: a body that comes late
		b.Reset()
	}
	_, err := io.WriteString(c, b.String()+body)
	if a.early { // a reset for the unread body must not overtake the answer
		c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		io.Copy(io.Discard, c)
	}
	return err == nil && !a.close && !a.cut && !a.early
}

// tcpUpstream answers each line with its name and the line; "close", "reset" and end of input do what they say.
type tcpUpstream struct {
	name           string
	greet, proxied bool
	j              *journal // of its health checks; nil: it does not tell them from other lines
}

func (u *tcpUpstream) handle(c *net.TCPConn, _ int) {
	name := u.name
	if a := c.LocalAddr().(*net.TCPAddr).IP; !a.Equal(net.IPv4(127, 0, 0, 1)) {
		name += "@" + a.String()
	}
	r := bufio.NewReader(c)
	if u.proxied {
		line, err := proxyLine(r)
		if err != nil {
			return
		}
		name += " " + line
	}
	if u.greet {
		fmt.Fprintf(c, "%s: welcome\n", name)
	}
	for checks := 0; u.j != nil; {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, healthCheck) {
			r = bufio.NewReader(io.MultiReader(strings.NewReader(line), r))
			break
		}
		checks++
		switch words := u.j.check(name, fmt.Sprintf("> %s %s", name, line), checks == 1); words {
		case "close":
			return
		case "reset":
			c.SetLinger(0)
			return
		case "silent":
		default:
			fmt.Fprintf(c, "%s: %s\n", name, cmp.Or(words, "well"))
		}
	}
	echo(c, c, r, name)
}

// echo answers over w, which may be TLS over c.
func echo(c *net.TCPConn, w io.Writer, r *bufio.Reader, name string) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			fmt.Fprintf(w, "%s: end of input\n", name)
			return
		}
		switch line {
		case "close\n":
			return
		case "shut\n":
			c.CloseWrite()
			io.Copy(io.Discard, r)
			return
		case "reset\n":
			c.SetLinger(0)
			return
		}
		if size, ok := strings.CutPrefix(line, "size "); ok {
			if n, err := parseSize(strings.TrimSpace(size)); err == nil {
				w.Write(append(pattern(n), '\n'))
				continue
			}
		}
		if delay, ok := strings.CutPrefix(line, "delay "); ok {
			if d, err := time.ParseDuration(strings.TrimSpace(delay)); err == nil {
				time.Sleep(d) // what the scenario asks for: a slow upstream
			}
		}
		fmt.Fprintf(w, "%s: %s", name, line)
	}
}
