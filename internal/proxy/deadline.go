// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"os"
	"time"
)

// deadline keeps a socket's deadline at the wanted moment or a little later. Moving it is a call into the runtime's poller, so
// it stays where it is while that is good enough.
type deadline struct {
	set func(time.Time) error
	at  time.Time // zero: none
}

// maxSlack bounds how late a deadline may be.
const maxSlack = time.Second

// want moves the deadline to between t and t plus a small part of in, which is how far away t is. The zero t removes it.
func (d *deadline) want(t time.Time, in time.Duration) {
	if t.IsZero() {
		if !d.at.IsZero() {
			d.move(t)
		}
		return
	}
	slack := min(in/32, maxSlack)
	if d.at.IsZero() || d.at.Before(t) || d.at.Sub(t) > slack {
		d.move(t.Add(slack))
	}
}

// move sets the deadline exactly. An error means that the socket is closed, which the next read or write tells.
func (d *deadline) move(t time.Time) {
	d.at = t
	_ = d.set(t)
}

// passed says that the deadline has come, or that somebody else has moved it: the next want sets it anew.
func (d *deadline) passed() { d.at = past }

// past makes reads and writes return at once.
var past = time.Unix(1, 0)

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
