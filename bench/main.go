// SPDX-License-Identifier: Apache-2.0

// Command bench compares leno, tier by tier, with the bare connection, nginx,
// HAProxy and Envoy, in slices that are interleaved so that all meet the same
// machine (see README.md for the method). It is not a test: it asserts
// nothing, and its figures are about the machine that it ran on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	quick                     bool
	json                      string
	rounds                    int
	slice                     time.Duration
	loads, places, contenders *regexp.Regexp
	cpus, leno                string
	scale                     bool
}

func main() {
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		if err := children[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	} else if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = benchmark(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseOptions(args []string) (o options, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.BoolVar(&o.quick, "quick", false, "end within a minute: few loads, few rounds")
	fs.StringVar(&o.json, "json", "", "write everything that was measured to this `file`")
	fs.IntVar(&o.rounds, "rounds", 5, "slices of each contender and load")
	fs.DurationVar(&o.slice, "slice", 2*time.Second, "length of a slice; whole seconds")
	l := fs.String("loads", "", "only loads that match this `regexp`")
	p := fs.String("places", "", "only places that match this `regexp`: same-namespace, two-namespaces, another-node")
	c := fs.String("contenders", "", "only contenders that match this `regexp`; bare always takes part")
	fs.StringVar(&o.cpus, "cpus", "", "use only these processors, such as 0-1; default: all that this program may use")
	fs.StringVar(&o.leno, "leno", "", "leno `binary`; default: build one from this tree")
	fs.BoolVar(&o.scale, "scale", true, "also measure start, idle memory, many listeners and edits")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.rounds, o.slice = 2, time.Second
		if *l == "" {
			*l = "^(keep-alive-16|connection-each)$"
		}
		if *p == "" {
			*p = "^same-namespace$"
		}
		if *c == "" {
			*c = "^(leno-socket|leno-proxy|nginx|haproxy|envoy)$"
		}
	}
	for _, r := range []struct {
		text string
		to   **regexp.Regexp
	}{{*l, &o.loads}, {*p, &o.places}, {*c, &o.contenders}} {
		if *r.to, err = regexp.Compile(r.text); err != nil {
			return o, err
		}
	}
	if o.rounds < 1 || o.slice < time.Second {
		return o, errors.New("-rounds must be at least 1 and -slice at least 1s")
	}
	return o, nil
}

// benchmark makes the world, measures and reports.
func benchmark(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the benchmark makes cgroups and network namespaces: run it as root")
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("%w (test/install.sh wrk)", err)
	}
	cpus, n, err := useCPUs(o.cpus)
	if err != nil {
		return err
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	report := newReport(o, cpus, n)
	if o.leno == "" {
		o.leno = filepath.Join(w.dir, "leno")
		if _, err := w.run(ctx, "", "go", "build", "-trimpath", "-o", o.leno, "github.com/leno-mesh/leno/cmd/leno"); err != nil {
			report.Missing = append(report.Missing, missing{"leno", err.Error()})
		}
	}
	b := &bench{w: w, o: o, report: report, cpus: cpus}
	if err := b.setUp(); err != nil {
		return err
	}
	report.printHead(os.Stdout)
	if err := b.measure(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(o.leno); err == nil && o.scale {
		if err := b.measureScale(ctx); err != nil {
			return err
		}
	}
	report.print(os.Stdout)
	return report.write(o.json)
}

// raiseFileLimit lets every proxy have as many connections as the loads make, or as many as it may.
func raiseFileLimit() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = max(l.Cur, min(l.Max, 65536))
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// children are what this binary is when it starts itself: "bench NAME ARG...".
var children = map[string]func(args []string) error{
	"serve": func(a []string) error {
		offset, err := strconv.Atoi(a[1])
		if err != nil {
			return err
		}
		return serve(a[0], offset)
	},
	"bulk": func(a []string) error {
		lasts, err := time.ParseDuration(a[1])
		if err != nil {
			return err
		}
		return bulk(a[0], lasts)
	},
	"open": func(a []string) error { // ADDRESS PATH CONNECTIONS RATE DURATION
		n, err1 := strconv.Atoi(a[2])
		rate, err2 := strconv.ParseFloat(a[3], 64)
		lasts, err3 := time.ParseDuration(a[4])
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		return printOpenLoop(a[0], a[1], n, rate, lasts)
	},
	"spin":  func(a []string) error { return spin(a[0]) },
	"probe": probe,
}
