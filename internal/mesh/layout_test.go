// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"testing"
	"time"
)

func TestAppendTime(t *testing.T) {
	at := time.Date(2026, 3, 4, 15, 6, 7, 80_123_456, time.FixedZone("X", 3600))
	for layout, want := range map[string]string{
		"":                           "",
		"%Y-%m-%dT%H:%M:%E3SZ":       "2026-03-04T15:06:07.080Z",
		"%Y/%m/%dT%H:%M:%S%z %s":     "2026/03/04T15:06:07+0100 1772633167",
		"%3s|%6s|%9s":                "1772633167080|1772633167080123|1772633167080123456",
		"%f %3f %1f":                 "080123456 080 0",
		"%a %b %e %I:%M %p %y %j %%": "Wed Mar  4 03:06 PM 26 063 %",
		"%Ez %F %T %D %R":            "+01:00 2026-03-04 15:06:07 03/04/26 15:06",
	} {
		if got := string(AppendTime(nil, at, layout)); got != want {
			t.Errorf("%q: %q, want %q", layout, got, want)
		}
	}
	for _, s := range []string{"%", "%Q", "%0f", "%E3", "%n", "%EY"} {
		if n := LayoutSpecifier(s); n != 0 {
			t.Errorf("%q: taken as %d bytes", s, n)
		}
	}
}
