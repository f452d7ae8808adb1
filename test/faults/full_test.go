// SPDX-License-Identifier: Apache-2.0

//go:build full

package faults

// rounds is how often a loop kills.
const rounds = 10
