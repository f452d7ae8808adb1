// SPDX-License-Identifier: Apache-2.0

//go:build full

package oracle

const full = true // Envoy itself is asked again
