// SPDX-License-Identifier: Apache-2.0

package xds

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"go.yaml.in/yaml/v3"
	"slices"

	"github.com/leno-mesh/leno/internal/mesh"
)

// bootstrap is the start file. Immutable once read.
type bootstrap struct {
	node      mesh.Node
	admin     *mesh.Admin
	lds, cds  *fileSource // nil: not asked for
	listeners []*listenerResource
	clusters  []*clusterResource
	problems  []mesh.Problem
}

// readBootstrap reads the start file; what is wrong with it is in problems.
func (r *reader) readBootstrap(o Options) *bootstrap {
	b := &bootstrap{}
	data, err := readFile(o.Path)
	if err == nil {
		var root *yaml.Node
		if root, err = parseText(data); err == nil {
			b.read(r, root, o)
			return b
		}
	}
	e := err.(*textError) //nolint:errorlint // readFile and parseText return nothing else
	b.problems = []mesh.Problem{{Severity: mesh.Rejected, File: o.Path, Line: e.line, Message: e.msg}}
	return b
}

func (b *bootstrap) read(r *reader, root *yaml.Node, o Options) {
	rest, listeners, clusters := withoutStatic(root)
	var p bootstrapv3.Bootstrap
	f := r.read(rest, &p, "bootstrap")
	b.node = mesh.Node{ID: p.GetNode().GetId(), Cluster: p.GetNode().GetCluster()}
	if l := p.GetNode().GetLocality(); l != nil {
		name := localityName(l)
		b.node.Locality = &name
	}
	if o.ServiceNode != "" {
		b.node.ID = o.ServiceNode
	}
	if o.ServiceCluster != "" {
		b.node.Cluster = o.ServiceCluster
	}
	if a := p.GetAdmin().GetAddress(); a != nil {
		if addr := bindAddress(a, "admin.address", f); addr.IsValid() {
			b.admin = &mesh.Admin{Address: addr}
		}
	}
	if c := p.GetDynamicResources().GetLdsConfig(); c != nil {
		s := configSource(c, "dynamic_resources.lds_config", f)
		b.lds = &s
	}
	if c := p.GetDynamicResources().GetCdsConfig(); c != nil {
		s := configSource(c, "dynamic_resources.cds_config", f)
		b.cds = &s
	}
	r.localCluster = p.GetClusterManager().GetLocalClusterName()
	b.staticClusters(r, clusters, o, f)
	if name := r.localCluster; name != "" && !slices.ContainsFunc(b.clusters, func(c *clusterResource) bool { return c.cluster.Name == name }) {
		f.invalid("cluster_manager.local_cluster_name", "%q is no cluster of static_resources", name)
	}
	b.staticListeners(r, listeners, o, f)
	b.needNode(f)
	b.problems = append(f.show(place{file: o.Path, node: root}), b.problems...)
}

// needNode holds Envoy's rule that whoever asks for configuration says who asks.
func (b *bootstrap) needNode(f *findings) {
	dynamic := b.lds != nil || b.cds != nil
	for _, l := range b.listeners {
		dynamic = dynamic || slices.ContainsFunc(l.rds, func(r routeSource) bool { return r.from.path != "" })
	}
	for _, c := range b.clusters {
		dynamic = dynamic || c.eds.path != ""
	}
	if dynamic && (b.node.ID == "" || b.node.Cluster == "") {
		f.invalid("node", "id and cluster are required where discovery files are named; --service-node and --service-cluster give them too")
	}
}

func (b *bootstrap) staticClusters(r *reader, list *yaml.Node, o Options, f *findings) {
	const base = "static_resources.clusters"
	seen := map[string]bool{}
	for i, n := range sequence(list, base, f) {
		c, cf := r.cluster(resolve(n), false)
		if name := c.cluster.Name; seen[name] && name != "" {
			cf.invalid("name", "%q is the name of another cluster", name)
		}
		seen[c.cluster.Name] = true
		b.clusters = append(b.clusters, c)
		b.problems = append(b.problems, cf.show(place{o.Path, at(base, i), resourceName("cluster", c.cluster.Name), resolve(n)})...)
	}
}

func (b *bootstrap) staticListeners(r *reader, list *yaml.Node, o Options, f *findings) {
	const base = "static_resources.listeners"
	known := map[string]bool{}
	for _, c := range b.clusters {
		known[c.cluster.Name] = true
	}
	for i, n := range sequence(list, base, f) {
		l, lf := r.listener(resolve(n))
		checkListener(l, b.listeners, func(name string) bool { return known[name] }, lf)
		b.listeners = append(b.listeners, l)
		b.problems = append(b.problems, lf.show(place{o.Path, at(base, i), resourceName("listener", l.listener.Name), resolve(n)})...)
	}
}

// checkListener holds a new listener against those that are there.
func checkListener(l *listenerResource, others []*listenerResource, cluster func(string) bool, f *findings) {
	for _, o := range others {
		if o.listener.Name == l.listener.Name && l.listener.Name != "" {
			f.refused("name", "%q is the name of another listener", l.listener.Name)
		} else if a := sameAddress(o.listener, l.listener); a.IsValid() {
			f.invalid("address", "%s is the address of listener %q", a, o.listener.Name)
		}
	}
	for _, ref := range l.refs {
		if !cluster(ref.name) {
			f.invalid(ref.path, "unknown cluster %q", ref.name)
		}
	}
}

func resourceName(kind, name string) string {
	if name == "" {
		return kind
	}
	return kind + " " + name
}

// sequence returns the members of a list, or finds that it is none.
func sequence(n *yaml.Node, path string, f *findings) []*yaml.Node {
	n = resolve(n)
	switch {
	case n == nil || isNull(n):
		return nil
	case n.Kind != yaml.SequenceNode:
		f.invalid(path, "must be a list, not %s", kindOf(n))
		return nil
	}
	return n.Content
}

// withoutStatic takes the static listeners and clusters out of a bootstrap: they are read one by one, so that each
// has problems of its own.
func withoutStatic(root *yaml.Node) (rest, listeners, clusters *yaml.Node) {
	static := resolve(child(root, "static_resources"))
	if static == nil || static.Kind != yaml.MappingNode {
		return root, nil, nil
	}
	trimmed := *static
	trimmed.Content = nil
	for i := 0; i+1 < len(static.Content); i += 2 {
		switch k := snake(static.Content[i].Value); {
		case k == "listeners" && listeners == nil:
			listeners = static.Content[i+1]
		case k == "clusters" && clusters == nil:
			clusters = static.Content[i+1]
		default: // a second one is found by the decoder's own rules
			trimmed.Content = append(trimmed.Content, static.Content[i], static.Content[i+1])
		}
	}
	copied := *root
	copied.Content = append([]*yaml.Node(nil), root.Content...)
	for i := 0; i+1 < len(copied.Content); i += 2 {
		if resolve(copied.Content[i+1]) == static {
			copied.Content[i+1] = &trimmed
			break
		}
	}
	return &copied, listeners, clusters
}
