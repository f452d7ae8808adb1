// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/mesh"
)

const (
	// settle is how long a burst of events must be over before files are read, and settleMax how long one is waited for.
	settle    = 10 * time.Millisecond
	settleMax = 50 * time.Millisecond
	// lookAgain is how often a directory that is missing is looked for.
	lookAgain = time.Second
)

// watchMask is what reloads: a move onto the path, as in Envoy; the end of a write; and what makes a file vanish.
// IN_CREATE is for symlinks, which are complete when they appear.
const watchMask = unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_CREATE |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// change is one event below a watched directory. An empty name: the directory itself, or events were lost.
type change struct {
	dir, name string
	created   bool
	moved     bool
}

// watcher follows directories by inotify. One goroutine reads, others may set.
type watcher struct {
	file *os.File
	dirs map[string]int // directory -> watch descriptor; -1: missing
	byID map[int]string
}

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch files: %w (raise fs.inotify.max_user_instances)", err)
	}
	return &watcher{file: os.NewFile(uintptr(fd), "inotify"), dirs: map[string]int{}, byID: map[int]string{}}, nil
}

// set makes the watched directories those of want; it returns the missing ones that could be watched now.
func (w *watcher) set(want map[string]bool) (appeared bool, err error) {
	for dir, id := range w.dirs {
		if !want[dir] {
			w.drop(dir, id)
		}
	}
	for dir := range want {
		id, known := w.dirs[dir]
		if known && id >= 0 {
			continue
		}
		id, err := w.control(func(fd int) (int, error) { return unix.InotifyAddWatch(fd, dir, watchMask) })
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EACCES):
			w.dirs[dir] = -1
		case err != nil:
			return false, fmt.Errorf("watch %s: %w (is fs.inotify.max_user_watches reached?)", dir, err)
		default:
			w.dirs[dir], w.byID[id] = id, dir
			appeared = appeared || known
		}
	}
	return appeared, nil
}

func (w *watcher) drop(dir string, id int) {
	delete(w.dirs, dir)
	if id >= 0 {
		delete(w.byID, id)
		// The directory may be gone, and its watch with it: then there is nothing to remove.
		_, _ = w.control(func(fd int) (int, error) { return unix.InotifyRmWatch(fd, uint32(id)) })
	}
}

// control runs an inotify call on the descriptor without taking it from the poller.
func (w *watcher) control(call func(fd int) (int, error)) (n int, err error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(fd uintptr) { n, err = call(int(fd)) }); cerr != nil {
		return 0, cerr
	}
	return n, err
}

func (w *watcher) missing() bool {
	for _, id := range w.dirs {
		if id < 0 {
			return true
		}
	}
	return false
}

// rawEvent is what inotify said, before the directory is looked up.
type rawEvent struct {
	id   int
	mask uint32
	name string
}

// read sends events until the file is closed.
func (w *watcher) read(out chan<- []rawEvent) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read inotify events: %w", err)
		}
		var events []rawEvent
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			id := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			name := bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00")
			events = append(events, rawEvent{int(id), mask, string(name)})
			b = b[end:]
		}
		out <- events
	}
}

// translate names the directory of an event and forgets watches that ended.
func (w *watcher) translate(e rawEvent) (change, bool) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		return change{}, true
	}
	dir, ok := w.byID[e.id]
	if !ok {
		return change{}, false
	}
	if e.mask&unix.IN_MOVE_SELF != 0 {
		w.drop(dir, e.id)
		w.dirs[dir] = -1
	}
	if e.mask&(unix.IN_IGNORED|unix.IN_DELETE_SELF) != 0 {
		delete(w.byID, e.id)
		w.dirs[dir] = -1
	}
	return change{dir: dir, name: e.name, created: e.mask&unix.IN_CREATE != 0, moved: e.mask&unix.IN_MOVED_TO != 0}, true
}

// concerns says whether an event in a directory is about a file.
func (c change) concerns(f fileSource) bool {
	if c.dir != f.dir() && c.dir != "" {
		return false
	}
	if c.created && !isSymlink(filepath.Join(c.dir, c.name)) {
		return false // still being written; the end of the write follows
	}
	if c.name == "" {
		return true
	}
	// In a directory that is watched for moves, any name counts: Kubernetes moves "..data".
	return f.watched != "" || c.name == filepath.Base(f.path)
}

func isSymlink(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.Mode()&os.ModeSymlink != 0
}

// Run publishes a new scope for each accepted change of the files, until ctx ends; then it returns nil. What did not
// change keeps its pointer. publish is called from one goroutine, and also when only the problems changed.
func (s *Source) Run(ctx context.Context, publish func(*mesh.Scope)) error {
	if len(s.want) == 0 {
		<-ctx.Done()
		return nil
	}
	w, err := newWatcher()
	if err != nil {
		return err
	}
	events, failed := make(chan []rawEvent), make(chan error, 1)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		failed <- w.read(events)
	}()
	defer func() {
		w.file.Close()
		for {
			select {
			case <-events: // the reader may be about to send
			case <-reading:
				return
			}
		}
	}()
	return s.follow(ctx, w, events, failed, publish)
}

// follow is the loop of Run.
func (s *Source) follow(ctx context.Context, w *watcher, events <-chan []rawEvent, failed <-chan error, publish func(*mesh.Scope)) error {
	if _, err := w.set(s.dirs()); err != nil {
		return err
	}
	// Whatever happened between Load and the watch has no event.
	if err := s.reload(w, []change{{}}, publish); err != nil {
		return err
	}
	var pending []change
	var quiet <-chan time.Time
	var since time.Time
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case list := <-events:
			for _, e := range list {
				if c, ok := w.translate(e); ok && s.concerned(c) {
					pending = append(pending, c)
				}
			}
			if pending == nil {
				continue
			}
			if quiet == nil {
				since = time.Now()
			}
			quiet = time.After(min(settle, settleMax-time.Since(since)))
		case <-quiet:
			quiet = nil
			if err := s.reload(w, pending, publish); err != nil {
				return err
			}
			pending = nil
		case <-again.C:
			if err := s.lookAgain(w, publish); err != nil {
				return err
			}
		}
	}
}

// lookAgain takes up directories that were missing.
func (s *Source) lookAgain(w *watcher, publish func(*mesh.Scope)) error {
	if !w.missing() {
		return nil
	}
	appeared, err := w.set(s.dirs())
	if err != nil || !appeared {
		return err
	}
	return s.reload(w, []change{{}}, publish)
}

func (s *Source) dirs() map[string]bool {
	dirs := map[string]bool{}
	for f := range s.want {
		dirs[f.dir()] = true
	}
	return dirs
}

func (s *Source) concerned(c change) bool {
	for f := range s.want {
		if c.concerns(f) {
			return true
		}
	}
	return false
}

// reload reads the files that changed and publishes what came of it. A file that is named for the first time may
// lie in a directory that was not watched yet: it is read once more after the watch is there.
func (s *Source) reload(w *watcher, changes []change, publish func(*mesh.Scope)) error {
	for {
		changed := false
		for f := range s.want {
			for _, c := range changes {
				if c.concerns(f) {
					changed = s.refresh(f.path) || changed
					break
				}
			}
		}
		if !changed {
			return nil
		}
		before := s.dirs()
		if s.rebuild() {
			s.log()
			publish(s.scope)
		}
		if _, err := w.set(s.dirs()); err != nil {
			return err
		}
		changes = nil
		for dir := range s.dirs() {
			if !before[dir] {
				changes = append(changes, change{dir: dir})
			}
		}
	}
}

// refresh reads one file; false: it is what it was.
func (s *Source) refresh(path string) bool {
	old := s.docs[path]
	d := readDocument(path)
	if old != nil && old.sum == d.sum && (old.problem == nil) == (d.problem == nil) &&
		(old.problem == nil || *old.problem == *d.problem) {
		return false
	}
	s.docs[path] = d
	return true
}

// log tells the problems of the newest scope.
func (s *Source) log() {
	for _, p := range s.scope.Problems {
		if p.Severity == mesh.Skipped {
			continue
		}
		s.o.Log.Warn("configuration", "became", p.Severity.String(), "file", p.File, "line", p.Line,
			"resource", p.Resource, "field", p.Field, "problem", p.Message)
	}
	s.o.Log.Info("configuration read", "file", s.o.Path, "listeners", len(s.scope.Listeners),
		"routes", len(s.scope.Routes), "clusters", len(s.scope.Clusters), "problems", len(s.scope.Problems))
}
