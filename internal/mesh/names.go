// SPDX-License-Identifier: Apache-2.0

package mesh

import "fmt"

// ChainName is how people are told of one of the listener's filter chains.
func (l *Listener) ChainName(c *FilterChain) string {
	if c == l.Default {
		return "default_filter_chain"
	}
	if c.Name != "" {
		return c.Name
	}
	for i := range l.Chains {
		if l.Chains[i] == c {
			return fmt.Sprintf("filter_chains[%d]", i)
		}
	}
	return ""
}

// RouteName is how people are told of one of the virtual host's routes.
func (vh *VirtualHost) RouteName(r *Route) string {
	if r.Name != "" {
		return r.Name
	}
	for i := range vh.Routes {
		if vh.Routes[i] == r {
			return fmt.Sprintf("%s[%d]", vh.Name, i)
		}
	}
	return ""
}
