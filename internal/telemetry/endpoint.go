// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"net/netip"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Endpoint is the counters of one host of one cluster, as Envoy's /clusters shows them. Every tier reports
// its own; the parts are added up.
type Endpoint struct {
	Cluster mesh.ClusterID
	Address netip.AddrPort

	CxTotal, CxActive, CxConnectFail                 uint64 // connections
	RqTotal, RqActive, RqSuccess, RqError, RqTimeout uint64 // requests; a TCP connection is one
	TxBytes, RxBytes                                 uint64 // to and from the host; payload
}

// Add adds another tier's counters of the same host.
func (e *Endpoint) Add(o Endpoint) {
	e.Cluster, e.Address = o.Cluster, o.Address
	e.CxTotal += o.CxTotal
	e.CxActive += o.CxActive
	e.CxConnectFail += o.CxConnectFail
	e.RqTotal += o.RqTotal
	e.RqActive += o.RqActive
	e.RqSuccess += o.RqSuccess
	e.RqError += o.RqError
	e.RqTimeout += o.RqTimeout
	e.TxBytes += o.TxBytes
	e.RxBytes += o.RxBytes
}
