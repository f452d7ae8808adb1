// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/leno-mesh/leno/internal/mesh"
)

// reader turns text nodes into mesh values. It is used by one goroutine.
type reader struct {
	table *table
	// localCluster is cluster_manager.local_cluster_name, known once the bootstrap is read.
	localCluster string
}

// read decodes one resource, checks Envoy's constraints and applies the table of fields.
func (r *reader) read(n *yaml.Node, m proto.Message, section string) *findings {
	f := &findings{}
	decode(n, m, f)
	r.check(m, section, f)
	return f
}

func (r *reader) check(m proto.Message, section string, f *findings) {
	var more findings
	validate(m, "", &more)
	r.table.walk(section, m, "", &more)
	for _, x := range more.list {
		// What did not decode is absent in m: that its constraint is broken as well says nothing new.
		if x.severity != mesh.Rejected || !f.hasBelow(mesh.Rejected, x.path) {
			f.add(x.severity, x.path, "%s", x.msg)
		}
	}
}

// fileSource is where a config source points.
type fileSource struct {
	path    string
	watched string // directory whose moves count; empty: that of path
}

// configSource reads where a discovery file lies; refusals are found by the table.
func configSource(c *corev3.ConfigSource, path string, f *findings) fileSource {
	if v := c.GetResourceApiVersion(); v == corev3.ApiVersion_V2 {
		f.invalid(join(path, "resource_api_version"), "must be V3")
	}
	if p := c.GetPath(); p != "" { //nolint:staticcheck // deprecated, and still in many files
		return fileSource{path: p}
	}
	p := c.GetPathConfigSource()
	return fileSource{path: p.GetPath(), watched: p.GetWatchedDirectory().GetPath()}
}

// bindAddress reads an address that is listened on.
func bindAddress(a *corev3.Address, path string, f *findings) netip.AddrPort {
	sa := a.GetSocketAddress()
	if sa == nil {
		return netip.AddrPort{} // another kind: refused by the table, or missing: found by validation
	}
	path = join(path, "socket_address")
	tcpOnly(sa, path, f)
	ip, err := netip.ParseAddr(sa.GetAddress())
	if err != nil || ip.Zone() != "" {
		f.invalid(join(path, "address"), "must be an IP address, not %q", sa.GetAddress())
		return netip.AddrPort{}
	}
	if sa.GetPortValue() == 0 && sa.GetNamedPort() == "" {
		f.refused(join(path, "port_value"), "0 (any free port) is not supported: name the port")
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(sa.GetPortValue()))
}

func tcpOnly(sa *corev3.SocketAddress, path string, f *findings) {
	if sa.GetProtocol() != corev3.SocketAddress_TCP {
		f.refused(join(path, "protocol"), "%s is not supported: leno accepts TCP", sa.GetProtocol())
	}
}

// duration reads a time as Envoy does: in whole milliseconds, not negative.
func duration(d *durationpb.Duration, absent time.Duration, path string, f *findings) time.Duration {
	if d == nil {
		return absent
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < 0 {
		f.invalid(path, "must be a duration of at least 0s")
		return absent
	}
	return d.AsDuration().Truncate(time.Millisecond)
}

// durationIf is duration for fields of which it matters that they are absent: nil.
func durationIf(d *durationpb.Duration, path string, f *findings) *time.Duration {
	if d == nil {
		return nil
	}
	v := duration(d, 0, path, f)
	return &v
}

func uint32Or(v *wrapperspb.UInt32Value, absent uint32) uint32 {
	if v == nil {
		return absent
	}
	return v.GetValue()
}

func boolOr(v *wrapperspb.BoolValue, absent bool) bool {
	if v == nil {
		return absent
	}
	return v.GetValue()
}
