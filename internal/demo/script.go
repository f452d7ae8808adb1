// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// step is one split and how long it lasts after TCP began to count.
type step struct {
	split Split
	lasts time.Duration
	kill  bool // the agent dies in the middle
}

var script = [...]step{
	{split: Split{100, 0}, lasts: 5 * time.Second},
	{split: Split{90, 10}, lasts: 7 * time.Second},
	{split: Split{50, 50}, lasts: 4 * time.Second, kill: true},
	{split: Split{0, 100}, lasts: 5 * time.Second},
}

const (
	// settle is how long after an edit's first HTTP answer TCP connections are counted for it.
	settle = time.Second
	// deadFor is how long the killed agent stays dead.
	deadFor = 3 * time.Second
)

// play goes through the script.
func (d *Demo) play(ctx context.Context) error {
	for i, s := range script {
		d.view.say("split %s: edited", s.split)
		if i > 0 {
			d.tally.edit(s.split, time.Now())
			if err := d.files.move(s.split); err != nil {
				return err
			}
		}
		err := d.until(ctx, d.agent, fmt.Sprintf("the split %s is live", s.split),
			func() bool { return d.tally.liveAfter() > 0 })
		if errors.Is(err, errInterrupted) {
			return err
		} else if err != nil {
			return errors.Join(err, d.tally.lastError())
		}
		if i > 0 {
			d.view.say("split %s: the first request went by it %s after the edit", s.split, short(d.tally.liveAfter()))
		}
		if err := d.pause(ctx, settle); err != nil {
			return err
		}
		d.tally.settled(time.Now())
		if err := d.pause(ctx, s.lasts); err != nil {
			return err
		}
		if s.kill {
			if err := d.killAgent(ctx, s.lasts); err != nil {
				return err
			}
		}
	}
	return nil
}

// killAgent is kill -9, a time without an agent, and a new one.
func (d *Demo) killAgent(ctx context.Context, after time.Duration) error {
	d.view.say("agent: kill -9")
	d.tally.agentDied(time.Now())
	dead := d.agent
	if err := dead.stop(syscall.SIGKILL, 5*time.Second); err != nil {
		return err
	}
	d.agent = nil
	if err := d.pause(ctx, deadFor); err != nil {
		return err
	}
	began := time.Now()
	if err := d.startAgent(ctx); err != nil {
		return err
	}
	d.tally.agentBack(time.Now())
	d.view.say("agent: started again, ready after %s", short(time.Since(began)))
	return d.pause(ctx, after)
}

// pause waits, unless something that must live ends.
func (d *Demo) pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	var agent chan struct{}
	if d.agent != nil {
		agent = d.agent.done
	}
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errInterrupted
	case <-agent:
		return d.agent.ended()
	case err := <-d.failed:
		return err
	}
}

// hold keeps everything running until Ctrl-C and says what to try.
func (d *Demo) hold(ctx context.Context) error {
	leno, dir := d.o.Leno, d.files.dir
	d.view.print(`
Still running. To try by hand, in another terminal (as root):
  %[1]s status --state-dir %[2]s
  %[1]s explain -c %[2]s/bootstrap.yaml
  curl -i http://%[4]s/                                 # any program: by the agent
  %[1]s exec --cgroup /%[3]s -- curl -i http://%[4]s/   # a program in the managed cgroup
  %[1]s exec --cgroup /%[3]s -- bash -c 'exec 3<>/dev/tcp/%[6]s; echo hello >&3; head -1 <&3'
  $EDITOR %[2]s/routes.yaml                             # the HTTP split; saved is live
  $EDITOR %[2]s/listeners.yaml                          # the TCP split
  curl --unix-socket %[2]s/admin.sock http://leno/clusters
  curl --unix-socket %[2]s/admin.sock http://leno/stats/prometheus
  kill -9 %[5]d                                         # the agent: TCP goes on; this demo then ends
Ctrl-C ends it and removes everything.
`, leno, dir, d.name, d.files.http, d.agent.cmd.Process.Pid,
		fmt.Sprintf("%s/%d", d.files.tcp.Addr(), d.files.tcp.Port()))
	select {
	case <-ctx.Done():
		return nil
	case <-d.agent.done:
		return d.agent.ended()
	case err := <-d.failed:
		return err
	}
}
