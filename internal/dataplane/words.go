// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leno-mesh/leno/internal/kern"
	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/upstream"
)

// words is the memory of cluster_active and endpoint_active, shared with the kernel's programs.
type words struct {
	clusters, endpoints []byte

	mu        sync.Mutex
	clusterID map[mesh.ClusterID]uint32
	hostID    map[hostKey]uint32
	heap      upstream.Counts // for clusters that no socket-tier listener uses
}

type hostKey struct {
	cluster mesh.ClusterID
	addr    netip.AddrPort
}

func mapWords(m *kern.CMaps) (*words, error) {
	w := &words{heap: upstream.NewCounts()}
	var err error
	if w.clusters, err = mapMemory(m.ClusterActive); err != nil {
		return nil, err
	}
	if w.endpoints, err = mapMemory(m.EndpointActive); err != nil {
		return nil, errors.Join(err, w.close())
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

func (w *words) close() error {
	var errs []error
	for _, mem := range [][]byte{w.clusters, w.endpoints} {
		if mem != nil {
			errs = append(errs, unix.Munmap(mem))
		}
	}
	return errors.Join(errs...)
}

func word(mem []byte, id uint32) *atomic.Int64 {
	return (*atomic.Int64)(unsafe.Pointer(&mem[int(id)*8]))
}

func (w *words) cluster(id uint32) *atomic.Int64  { return word(w.clusters, id) }
func (w *words) endpoint(id uint32) *atomic.Int64 { return word(w.endpoints, id) }

// reserve makes Counts use the kernel's words for all clusters of t.
func (w *words) reserve(t *table.Tables) {
	clusters := make(map[mesh.ClusterID]uint32, len(t.Clusters))
	hosts := make(map[hostKey]uint32)
	for _, c := range t.Clusters {
		clusters[c.Cluster] = c.ID
		for _, s := range c.Slots {
			hosts[hostKey{c.Cluster, s.Address}] = s.Endpoint
		}
	}
	w.mu.Lock()
	w.clusterID, w.hostID = clusters, hosts
	w.mu.Unlock()
}

// Connections implements upstream.Counts.
func (w *words) Connections(c mesh.ClusterID) *atomic.Int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.clusterID[c]; ok {
		return w.cluster(id)
	}
	return w.heap.Connections(c)
}

// Active implements upstream.Counts.
func (w *words) Active(c mesh.ClusterID, host netip.AddrPort) *atomic.Int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.hostID[hostKey{c, host}]; ok {
		return w.endpoint(id)
	}
	return w.heap.Active(c, host)
}

// Counts hands out the words that the kernel's programs add to as well.
func (d *Dataplane) Counts() upstream.Counts { return d.words }

// Reserve makes Counts know the ids of t; call it before the proxy sees the configuration that t was compiled from.
func (d *Dataplane) Reserve(t *table.Tables) { d.words.reserve(t) }
