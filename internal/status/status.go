// SPDX-License-Identifier: Apache-2.0

// Package status is the one description of a running agent that the admin
// API, the commands and the log render. It holds words only: package agent
// fills it, package admin and cmd/leno show it. It is not for counters of
// traffic (package telemetry).
package status

import (
	"time"

	"github.com/leno-mesh/leno/internal/mesh"
)

// State of the agent, in Envoy's words (Envoy: admin.v3.ServerInfo.State).
type State string

const (
	Initializing State = "INITIALIZING" // the first configuration is not in force yet
	Live         State = "LIVE"
	Draining     State = "DRAINING"
)

// Status is a snapshot; whoever holds it may keep it.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	State   State     `json:"state"`
	Tier    string    `json:"tier"` // --tier

	Scopes    []Scope    `json:"scopes"`
	Listeners []Listener `json:"listeners"`
	Problems  []Problem  `json:"problems"`
	Kernel    Kernel     `json:"kernel"`
}

// Scope is one managed cgroup subtree.
type Scope struct {
	Cgroup string `json:"cgroup"`
	Source string `json:"source"`
	NodeID string `json:"node_id,omitempty"`
}

// Listener is where one listener is carried and whether it can be used.
type Listener struct {
	Scope   string `json:"scope"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Bound   bool   `json:"bound"` // the agent listens there
	Tier    string `json:"tier"`
	Why     string `json:"why"`
	// Error says why connects fail; empty: the listener serves.
	Error string `json:"error,omitempty"`
}

// Problem is a part of the configuration that is not in force as written.
type Problem struct {
	Severity string `json:"severity"` // "skipped", "refused", "rejected"
	Scope    string `json:"scope,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Resource string `json:"resource,omitempty"`
	Field    string `json:"field,omitempty"`
	Message  string `json:"message"`
}

// Kernel is what the kernel half says of itself.
type Kernel struct {
	// Off says why there is no kernel half; empty: it is attached.
	Off string `json:"off,omitempty"`
	// LastError is the newest failure to bring tables into the kernel; the last good ones serve. Empty: none.
	LastError string   `json:"last_error,omitempty"`
	Attached  []string `json:"attached,omitempty"` // cgroup paths
	Foreign   []string `json:"foreign,omitempty"`  // other programs on the same cgroups, in words
	Missing   []string `json:"missing,omitempty"`  // what this kernel or system cannot do, in sentences
	Maps      []Map    `json:"maps,omitempty"`
}

// Map is how full one bounded kernel map is.
type Map struct {
	Name string `json:"name"`
	Used uint32 `json:"used"`
	Max  uint32 `json:"max"`
	Flag string `json:"flag,omitempty"` // the flag of `leno run` that raises Max
}

// FromProblem turns the model's problem into the status' words.
func FromProblem(scope string, p mesh.Problem) Problem {
	return Problem{
		Severity: p.Severity.String(), Scope: scope, File: p.File, Line: p.Line,
		Resource: p.Resource, Field: p.Field, Message: p.Message,
	}
}
