// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
)

// Sizes of the entries of inner maps (bpf/types.h: union target, union cluster_entry).
const (
	targetSize  = 48
	clusterSize = 32
)

// addr16 is an address as the kernel half keeps it: IPv6, or v4-mapped.
func addr16(a netip.Addr) kern.CAddr { return kern.CAddr{Ip: a.As16()} }

// fromAddr16 is the inverse of addr16.
func fromAddr16(a kern.CAddr) netip.Addr { return netip.AddrFrom16(a.Ip).Unmap() }

// key is where connects find the listener.
func (d *Dataplane) key(l *table.Listener) kern.CListenerKey {
	k := kern.CListenerKey{Addr: addr16(l.Address.Addr()), Scope: l.Scope, Port: l.Address.Port()}
	if l.Bound {
		k.Netns = d.netns
	}
	return k
}

func flags(l *table.Listener) kern.CListenerFlag {
	f := kern.CListenerFlag(0)
	if l.Bound {
		f |= kern.CListenerFlagLISTENER_BOUND | kern.CListenerFlagLISTENER_LOCAL_ONLY
	}
	if l.Tier == table.TierProxy {
		f |= kern.CListenerFlagLISTENER_PROXY
	}
	if l.Tombstone != "" {
		f |= kern.CListenerFlagLISTENER_TOMBSTONE
	}
	if l.Address.Addr().Is4() || l.V4Compat {
		f |= kern.CListenerFlagLISTENER_V4
	}
	if l.Address.Addr().Is6() {
		f |= kern.CListenerFlagLISTENER_V6
	}
	return f
}

// targetRows are the entries of a listener's inner map: head, then shares with cumulative weights.
func (d *Dataplane) targetRows(l *table.Listener) [][]byte {
	head := kern.CTargetHead{Key: d.key(l), Flags: flags(l), Shares: uint32(len(l.Shares))}
	rows := make([][]byte, 1, 1+len(l.Shares))
	for _, s := range l.Shares {
		head.TotalWeight += s.Weight
		rows = append(rows, entry(targetSize, kern.CTargetShare{Cluster: s.Cluster, Upto: head.TotalWeight}))
	}
	rows[0] = entry(targetSize, head)
	return rows
}

var policies = map[table.Balance]kern.CPolicy{
	table.Ring: kern.CPolicyPOLICY_RING, table.Random: kern.CPolicyPOLICY_RANDOM, table.Least: kern.CPolicyPOLICY_LEAST,
}

// clusterRows are the entries of a cluster's inner map: head, then slots.
func clusterRows(c *table.Cluster) [][]byte {
	head := kern.CClusterHead{Slots: uint32(len(c.Slots)), Policy: policies[c.Balance], Choices: c.Choices,
		MaxConnections: c.MaxConnections, ConnectTimeoutMs: c.ConnectTimeoutMS}
	if c.Tombstone {
		head.Flags = kern.CClusterFlagCLUSTER_TOMBSTONE
	}
	rows := [][]byte{entry(clusterSize, head)}
	for _, s := range c.Slots {
		slot := kern.CClusterSlot{Addr: addr16(s.Address.Addr()), Endpoint: s.Endpoint, Port: s.Address.Port()}
		if a := s.Address.Addr(); a.IsLoopback() || a.IsLinkLocalUnicast() {
			slot.Flags = kern.CSlotFlagSLOT_LOCAL_TO_AGENT
		}
		rows = append(rows, entry(clusterSize, slot))
	}
	return rows
}

// entry lays a struct out as the kernel half reads it.
func entry(size int, v any) []byte {
	b := make([]byte, 0, size)
	// Append fails only for values without a fixed size; all of these have one.
	b, _ = binary.Append(b, binary.NativeEndian, v)
	return append(b, make([]byte, size-len(b))...)
}

// nameOf is what keeps a cluster's id over a restart (bpf/types.h: struct cluster_name).
func nameOf(c mesh.ClusterID) kern.CClusterName {
	return kern.CClusterName{Sha256: sha256.Sum256([]byte(c.Scope + "\x00" + c.Name))}
}
