// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/upstream"
)

// words is the memory of cluster_active and endpoint_active, shared with the kernel's programs. It is never unmapped:
// whoever was handed a word may use it as long as the process lives.
type words struct {
	clusters, endpoints []byte

	index *index
	heap  upstream.Counts // for clusters that no socket-tier listener uses
}

func mapWords(m *kern.CMaps, x *index) (*words, error) {
	w := &words{index: x, heap: upstream.NewCounts()}
	var err error
	if w.clusters, err = mapMemory(m.ClusterActive); err != nil {
		return nil, err
	}
	if w.endpoints, err = mapMemory(m.EndpointActive); err != nil {
		return nil, err
	}
	return w, nil
}

// mapMemory maps an array of 8-byte words into our memory.
func mapMemory(m *ebpf.Map) ([]byte, error) {
	page := os.Getpagesize()
	size := (int(m.MaxEntries())*8 + page - 1) / page * page
	mem, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the counts of what is in flight: %w", err)
	}
	return mem, nil
}

func word(mem []byte, id uint32) *atomic.Int64 {
	return (*atomic.Int64)(unsafe.Pointer(&mem[int(id)*8]))
}

func (w *words) cluster(id uint32) *atomic.Int64  { return word(w.clusters, id) }
func (w *words) endpoint(id uint32) *atomic.Int64 { return word(w.endpoints, id) }

// Connections implements upstream.Counts.
func (w *words) Connections(c mesh.ClusterID) *atomic.Int64 {
	if n := w.index.clusterWord(w, c); n != nil {
		return n
	}
	return w.heap.Connections(c)
}

// Active implements upstream.Counts.
func (w *words) Active(c mesh.ClusterID, host netip.AddrPort) *atomic.Int64 {
	if n := w.index.endpointWord(w, hostKey{c, host}); n != nil {
		return n
	}
	return w.heap.Active(c, host)
}

// Counts hands out the words that the kernel's programs add to as well.
func (d *Dataplane) Counts() upstream.Counts { return d.words }

// Reserve makes Counts know the ids of t; call it before the proxy sees the configuration that t was compiled from. The
// error names the limit when t does not fit; then nothing was reserved, and t must be thrown away.
func (d *Dataplane) Reserve(t *table.Tables) error {
	if err := d.checkCapacity(t); err != nil {
		return err
	}
	d.index.take(t)
	return nil
}
