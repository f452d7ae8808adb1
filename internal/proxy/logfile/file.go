// SPDX-License-Identifier: Apache-2.0

package logfile

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// File collects lines for one path. Append may be called from any goroutine.
type File struct {
	set    *Set
	path   string
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when run has ended
	reopen atomic.Bool

	mu     sync.Mutex
	lines  []byte // collected
	closed bool

	// Of run alone.
	spare   []byte // what lines was before, for the next turn
	out     io.WriteCloser
	unheard bool // the last try to open failed, and that was logged
}

// Append takes a copy of a line, which ends as its format wants. It never waits for the file.
func (f *File) Append(line []byte) {
	stats := &f.set.Stats
	f.mu.Lock()
	if f.closed || len(f.lines)+len(line) > f.set.o.MaxSize {
		f.mu.Unlock()
		stats.Dropped.Add(1)
		return
	}
	f.lines = append(f.lines, line...)
	enough := len(f.lines) >= f.set.o.MinSize
	f.mu.Unlock()
	stats.WriteBuffered.Add(1)
	stats.WriteTotalBuffered.Add(int64(len(line)))
	if enough {
		f.poke()
	}
}

func (f *File) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // it is awake, or will be
	}
}

// run writes what is collected until the file is closed.
func (f *File) run() {
	defer close(f.done)
	tick := time.NewTicker(f.set.o.Interval)
	defer tick.Stop()
	f.open() // the file is there before its first line, as with Envoy
	for {
		select {
		case <-tick.C:
			if f.write() {
				f.set.Stats.FlushedByTimer.Add(1)
			}
		case <-f.wake:
			f.write()
		}
		if f.reopen.Swap(false) {
			f.close()
			if !f.open() {
				f.set.Stats.ReopenFailed.Add(1)
			}
		}
		f.mu.Lock()
		over := f.closed && len(f.lines) == 0
		f.mu.Unlock()
		if over {
			f.close()
			return
		}
	}
}

// write hands over what is collected; false: that was nothing.
func (f *File) write() bool {
	f.mu.Lock()
	lines := f.lines
	f.lines = f.spare[:0]
	f.mu.Unlock()
	f.spare = lines
	if cap(lines) > 4*f.set.o.MinSize {
		f.spare = nil // a burst is over
	}
	if len(lines) == 0 {
		return false
	}
	stats := &f.set.Stats
	stats.WriteTotalBuffered.Add(-int64(len(lines)))
	if f.out == nil && !f.open() {
		stats.WriteFailed.Add(1)
		return true
	}
	if _, err := f.out.Write(lines); err != nil {
		stats.WriteFailed.Add(1)
		return true
	}
	stats.WriteCompleted.Add(1)
	return true
}

func (f *File) open() bool {
	switch f.path {
	case "/dev/stdout":
		f.out = kept{os.Stdout}
		return true
	case "/dev/stderr":
		f.out = kept{os.Stderr}
		return true
	}
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		if !f.unheard {
			f.set.o.Log.Error("access log is not written", "path", f.path, "err", err)
		}
		f.unheard, f.out = true, nil
		return false
	}
	f.unheard, f.out = false, out
	return true
}

func (f *File) close() {
	if f.out != nil {
		f.out.Close()
		f.out = nil
	}
}

// kept is a file that others use, too.
type kept struct{ io.Writer }

func (kept) Close() error { return nil }
