// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userHZ is the unit of /proc/stat; it is 100 on every Linux that Go runs on.
const userHZ = 100

// busyTime is the machine's non-idle time since boot, all processors together. Time of niced programs is left out:
// that is the spinner, and nothing else should be niced while the benchmark runs. So is stolen time.
func busyTime() (time.Duration, error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the processors' times: %w", err)
	}
	defer f.Close()
	return parseBusy(f)
}

func parseBusy(r io.Reader) (time.Duration, error) {
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("read the processors' times: %w", err)
	}
	w := strings.Fields(line)
	if len(w) < 8 || w[0] != "cpu" {
		return 0, fmt.Errorf("the first line of /proc/stat is %q, want the sum of all processors", line)
	}
	var ticks uint64
	for _, i := range []int{1, 3, 6, 7} { // user, system, irq, softirq
		n, err := strconv.ParseUint(w[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processors' times: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHZ, nil
}

// Memory is what a contender takes, in bytes.
type Memory struct {
	Anonymous uint64 `json:"anonymous"` // resident anonymous pages of all its processes
	Maps      uint64 `json:"maps"`      // its BPF maps, as the kernel charges them
}

// memoryOf adds up a process and its children.
func memoryOf(pid int) (Memory, error) {
	var m Memory
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return m, fmt.Errorf("read a process's memory: %w", err)
	}
	defer f.Close()
	if m.Anonymous, err = parseKiB(f, "Anonymous:"); err != nil {
		return m, err
	}
	if m.Maps, err = mapMemory(pid); err != nil {
		return m, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return m, fmt.Errorf("read a process's children: %w", err)
	}
	for _, c := range strings.Fields(string(children)) {
		n, err := strconv.Atoi(c)
		if err != nil {
			return m, fmt.Errorf("read a process's children: %w", err)
		}
		inner, err := memoryOf(n)
		if err != nil {
			return m, err
		}
		m.Anonymous += inner.Anonymous
		m.Maps += inner.Maps
	}
	return m, nil
}

// parseKiB finds "KEY  123 kB" and returns bytes.
func parseKiB(r io.Reader, key string) (uint64, error) {
	for s := bufio.NewScanner(r); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) >= 2 && w[0] == key {
			n, err := strconv.ParseUint(w[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s %w", key, err)
			}
			return n << 10, nil
		}
	}
	return 0, fmt.Errorf("no line %s", key)
}

// mapMemory adds up the BPF maps that a process has open, each once.
func mapMemory(pid int) (uint64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		return 0, err
	}
	sizes := map[string]uint64{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		} else if err != nil {
			return 0, fmt.Errorf("read a file descriptor: %w", err)
		}
		if id, n, ok := parseMap(string(text)); ok {
			sizes[id] = n
		}
	}
	var sum uint64
	for _, n := range sizes {
		sum += n
	}
	return sum, nil
}

// parseMap reads the id and the size of a BPF map from its fdinfo.
func parseMap(text string) (id string, bytes uint64, ok bool) {
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "map_id":
			id = value
		case "memlock":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return "", 0, false
			}
			bytes = n
		}
	}
	return id, bytes, id != ""
}

// useCPUs binds this program and all that it starts to a list such as "0-1,3", and returns it in words.
func useCPUs(list string) (string, int, error) {
	var set unix.CPUSet
	if list == "" {
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			return "", 0, fmt.Errorf("read the processors: %w", err)
		}
	} else if err := parseCPUs(list, &set); err != nil {
		return "", 0, err
	}
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return "", 0, err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			return "", 0, err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, syscall.ESRCH) {
			return "", 0, fmt.Errorf("use processors %s: %w", list, err)
		}
	}
	var names []string
	for i := range 1024 {
		if set.IsSet(i) {
			names = append(names, strconv.Itoa(i))
		}
	}
	return strings.Join(names, ","), len(names), nil
}

func parseCPUs(list string, set *unix.CPUSet) error {
	for _, part := range strings.Split(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err := errors.Join(err, err2); err != nil || a < 0 || b < a || b >= 1024 {
			return fmt.Errorf("-cpus %q: must be a list such as 0-1,3", list)
		}
		for i := a; i <= b; i++ {
			set.Set(i)
		}
	}
	return nil
}

// spin keeps the processors awake until its input ends: one thread each, at the lowest priority.
func spin(cpus string) error {
	_, n, err := useCPUs(cpus)
	if err != nil {
		return err
	}
	for range n {
		go func() {
			//lint:ignore SA5002 spinning is what it is for
			for {
			}
		}()
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
