// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"sort"
	"strings"
)

// Cluster returns the cluster of that name, or nil.
func (s *Scope) Cluster(name string) *Cluster {
	i := sort.Search(len(s.Clusters), func(i int) bool { return s.Clusters[i].Name >= name })
	if i < len(s.Clusters) && s.Clusters[i].Name == name {
		return s.Clusters[i]
	}
	return nil
}

// RouteConfig returns the route configuration that h uses, or nil while RDS has not delivered it.
func (s *Scope) RouteConfig(h *HTTPConnectionManager) *RouteConfig {
	if h.RouteConfig != nil {
		return h.RouteConfig
	}
	i := sort.Search(len(s.Routes), func(i int) bool { return s.Routes[i].Name >= h.RDS })
	if i < len(s.Routes) && s.Routes[i].Name == h.RDS {
		return s.Routes[i]
	}
	return nil
}

// StatName is the listener's name in statistics.
func (l *Listener) StatName() string {
	if l.StatPrefix != "" {
		return l.StatPrefix
	}
	return strings.ReplaceAll(l.Address.String(), ":", "_")
}

// StatName is the cluster's name in statistics.
func (c *Cluster) StatName() string {
	if c.AltStatName != "" {
		return c.AltStatName
	}
	return c.Name
}
