// SPDX-License-Identifier: Apache-2.0

package logfile

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestLinesOfManyAreAllWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := New(Options{Interval: time.Millisecond, MinSize: 100, Log: quiet()})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				s.File(path).Append([]byte("0123456789\n"))
			}
		})
	}
	wg.Wait()
	s.Close(10 * time.Second)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "0123456789\n"); n != 8000 || len(data) != 8000*11 {
		t.Errorf("%d lines, %d bytes", n, len(data))
	}
	if s.Stats.Dropped.Load() != 0 || s.Stats.WriteBuffered.Load() != 8000 || s.Stats.WriteTotalBuffered.Load() != 0 {
		t.Errorf("stats %d %d %d", s.Stats.Dropped.Load(), s.Stats.WriteBuffered.Load(), s.Stats.WriteTotalBuffered.Load())
	}
}

// TestNobodyWaitsForASlowReader fills a pipe that nobody reads: lines beyond the bound are dropped and counted, at once.
func TestNobodyWaitsForASlowReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDWR, 0) // so that opening to write does not wait
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := New(Options{Interval: time.Hour, MinSize: 1, MaxSize: 1 << 20, Log: quiet()})
	line := make([]byte, 1<<10)
	for range 4 << 10 {
		s.File(path).Append(line)
	}
	if s.Stats.Dropped.Load() == 0 {
		t.Error("4 MiB went into a buffer of 1 MiB")
	}
	s.Close(10 * time.Millisecond) // returns although the rest cannot be written
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "log"), filepath.Join(dir, "old")
	s := New(Options{Interval: time.Hour, MinSize: 1, Log: quiet()})
	f := s.File(path)
	f.Append([]byte("one\n"))
	wait(t, path, "one\n")
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	s.Reopen()
	wait(t, path, "")
	f.Append([]byte("two\n"))
	wait(t, path, "two\n")
	wait(t, old, "one\n")
	s.Close(time.Second)
}

func TestAFolderThatComesLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "log")
	s := New(Options{Interval: time.Millisecond, Log: quiet()})
	f := s.File(path)
	f.Append([]byte("lost\n"))
	for s.Stats.WriteFailed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f.Append([]byte("found\n"))
	wait(t, path, "found\n")
	s.Close(time.Second)
	f.Append([]byte("late\n"))
	if s.Stats.Dropped.Load() != 1 {
		t.Error("a line after the end was taken")
	}
}

func wait(t *testing.T, path, want string) {
	t.Helper()
	var got []byte
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got, err = os.ReadFile(path); err == nil && string(got) == want {
			return
		}
	}
	t.Fatalf("%s: %q, %v; want %q", path, got, err, want)
}
