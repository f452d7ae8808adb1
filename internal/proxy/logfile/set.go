// SPDX-License-Identifier: Apache-2.0

package logfile

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options of all files of a Set. Log is required.
type Options struct {
	// Interval is how long a line may stay in memory; 0: 10 s (Envoy: --file-flush-interval-msec).
	Interval time.Duration
	// MinSize is how much is written without waiting for Interval, in bytes; 0: 64 KiB (Envoy: --file-flush-min-size-kb).
	MinSize int
	// MaxSize bounds the memory of one file, in bytes; what does not fit is dropped and counted; 0: 16 MiB.
	MaxSize int
	Log     *slog.Logger
}

// Stats are the words of all files of a Set (Envoy: file_system_stats, the names below "filesystem."). Dropped is leno's own.
type Stats struct {
	WriteBuffered, WriteCompleted, WriteFailed, FlushedByTimer, ReopenFailed atomic.Uint64
	WriteTotalBuffered                                                       atomic.Int64
	Dropped                                                                  atomic.Uint64 // lines
}

// Set is the files of one process, one for each path however often it is asked for. Its methods may be called from any goroutine.
type Set struct {
	Stats Stats
	o     Options

	mu     sync.Mutex
	files  map[string]*File
	closed bool
}

// New returns a set without files.
func New(o Options) *Set {
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	if o.MinSize == 0 {
		o.MinSize = 64 << 10
	}
	if o.MaxSize == 0 {
		o.MaxSize = 16 << 20
	}
	return &Set{o: o, files: map[string]*File{}}
}

// File returns the file of that path; "/dev/stdout" and "/dev/stderr" are the process's own. It stays open until Close, since a
// line may come for it as long as its connections live. That it cannot be opened is logged, and tried again with each flush.
func (s *Set) File(path string) *File {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[path]
	if f == nil {
		f = &File{set: s, path: path, wake: make(chan struct{}, 1), done: make(chan struct{})}
		s.files[path] = f
		if s.closed {
			close(f.done)
		} else {
			go f.run()
		}
	}
	return f
}

// Empty says that no file was asked for yet.
func (s *Set) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files) == 0
}

// Reopen makes every file be opened again by its path, for who has moved it away. It returns at once.
func (s *Set) Reopen() {
	for _, f := range s.all() {
		f.reopen.Store(true)
		f.poke()
	}
}

// Close writes what is buffered, for at most the given time, and ends all files: later lines are dropped.
func (s *Set) Close(atMost time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	all := s.all()
	for _, f := range all {
		f.mu.Lock()
		f.closed = true
		f.mu.Unlock()
		f.poke()
	}
	limit := time.NewTimer(atMost)
	defer limit.Stop()
	for _, f := range all {
		select {
		case <-f.done:
		case <-limit.C: // whoever reads the file has stopped to
			return
		}
	}
}

func (s *Set) all() []*File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*File
	for _, f := range s.files {
		all = append(all, f)
	}
	return all
}
