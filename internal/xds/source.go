// SPDX-License-Identifier: Apache-2.0

// Package xds is the north-bound side: it reads Envoy's bootstrap and discovery
// files, holds them against the one table of fields (docs/fields.md) and makes
// mesh values of them. It is the only importer of Envoy's protos.
//
// It is not for deciding where configuration is carried out (package table),
// not for resolving names or checking health (package upstream), and it never
// touches sockets other than inotify's.
package xds

import (
	"log/slog"
	"path/filepath"
	"reflect"
	"sort"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Options say what to read. Path is required.
type Options struct {
	Path   string // Envoy bootstrap, YAML or JSON
	Cgroup string // becomes mesh.Scope.Cgroup
	// ServiceNode and ServiceCluster replace node.id and node.cluster; empty: the file's stand.
	ServiceNode, ServiceCluster string
	Log                         *slog.Logger // nil: nothing is logged
}

// Source is one bootstrap and the files that it names. Its methods may not be called at the same time.
type Source struct {
	o Options
	r *reader
	b *bootstrap

	docs map[string]*document // as read last, by path
	read []string             // paths in the order of first reading
	want map[fileSource]bool  // what is watched

	clusters  collection[*clusterResource]
	listeners collection[*listenerResource]
	endpoints map[subscription]*single[*mesh.Endpoints]
	routes    map[subscription]*single[*routeResource]

	built map[string]builtCluster
	scope *mesh.Scope
}

// subscription is one resource that is wanted from one file.
type subscription struct {
	from fileSource
	name string
}

// builtCluster remembers an EDS cluster with its endpoints, so that its pointer stays while neither changes.
type builtCluster struct {
	base      *mesh.Cluster
	endpoints *mesh.Endpoints
	cluster   *mesh.Cluster
}

// Load reads the bootstrap and every file that it names, once. The error is an *Invalid with all problems when
// something is invalid, or not supported and able to change a request; then nothing else is returned.
func Load(o Options) (*Source, *mesh.Scope, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &reader{table: newTable()}
	s := &Source{o: o, r: r, b: r.readBootstrap(o), docs: map[string]*document{}, built: map[string]builtCluster{},
		endpoints: map[subscription]*single[*mesh.Endpoints]{}, routes: map[subscription]*single[*routeResource]{}}
	s.rebuild()
	if stops(s.scope.Problems) {
		return nil, nil, &Invalid{Problems: s.scope.Problems}
	}
	return s, s.scope, nil
}

// document returns a file as it was read last, and reads it if it never was.
func (s *Source) document(path string) *document {
	d := s.docs[path]
	if d == nil {
		d = readDocument(path)
		s.docs[path] = d
		s.read = append(s.read, path)
	}
	return d
}

// rebuild evaluates all files again and makes the scope of them; false: nothing changed.
func (s *Source) rebuild() bool {
	problems := append([]mesh.Problem(nil), s.b.problems...)
	s.want = map[fileSource]bool{}
	clusters := s.evalClusters(&problems)
	out := &mesh.Scope{Cgroup: s.o.Cgroup, Source: s.o.Path, Node: s.b.node, LocalCluster: s.r.localCluster, Admin: s.b.admin}
	out.Clusters = s.withEndpoints(clusters, &problems)
	listeners := s.evalListeners(clusters, &problems)
	for _, l := range listeners {
		out.Listeners = append(out.Listeners, l.listener)
	}
	sort.Slice(out.Listeners, func(i, j int) bool { return out.Listeners[i].Name < out.Listeners[j].Name })
	out.Routes = s.evalRoutes(listeners, out.Clusters, &problems)
	out.Problems = problems
	s.forget()
	if s.scope != nil && reflect.DeepEqual(*s.scope, *out) {
		return false
	}
	s.scope = out
	return true
}

// forget drops files that nothing names any more.
func (s *Source) forget() {
	used := map[string]bool{}
	for w := range s.want {
		used[w.path] = true
	}
	kept := s.read[:0]
	for _, p := range s.read {
		if used[p] {
			kept = append(kept, p)
		} else {
			delete(s.docs, p)
		}
	}
	s.read = kept
}

func (s *Source) evalClusters(problems *[]mesh.Problem) []*clusterResource {
	all := append([]*clusterResource(nil), s.b.clusters...)
	if s.b.cds == nil || s.b.cds.path == "" {
		return all
	}
	s.want[*s.b.cds] = true
	static := map[string]bool{}
	for _, c := range all {
		static[c.cluster.Name] = true
	}
	found := s.clusters.update(s.document(s.b.cds.path), kind[*clusterResource]{
		typ: typeCluster, word: "cluster",
		decode: func(e entry) (*clusterResource, *findings) { return s.r.cluster(e.node, true) },
		admit: func(c *clusterResource, _ []*clusterResource, f *findings) {
			if static[c.cluster.Name] {
				f.invalid("name", "%q is a cluster of static_resources, which files do not replace", c.cluster.Name)
			}
			s.mustExist(c.eds, c.edsPath, f)
		},
		name: func(c *clusterResource) string { return c.cluster.Name },
		tombstone: func(c *clusterResource, reason string) (*clusterResource, bool) {
			if static[c.cluster.Name] {
				return nil, false
			}
			dead := *c.cluster
			dead.Tombstone = reason
			dead.Endpoints = &mesh.Endpoints{}
			dead.Discovery = mesh.Static
			return &clusterResource{cluster: &dead}, true
		},
	}, problems)
	return append(all, found...)
}

func (s *Source) evalListeners(clusters []*clusterResource, problems *[]mesh.Problem) []*listenerResource {
	all := append([]*listenerResource(nil), s.b.listeners...)
	if s.b.lds == nil || s.b.lds.path == "" {
		return all
	}
	s.want[*s.b.lds] = true
	known := map[string]bool{}
	for _, c := range clusters {
		known[c.cluster.Name] = true
	}
	found := s.listeners.update(s.document(s.b.lds.path), kind[*listenerResource]{
		typ: typeListener, word: "listener",
		decode: func(e entry) (*listenerResource, *findings) { return s.r.listener(e.node) },
		admit: func(l *listenerResource, others []*listenerResource, f *findings) {
			checkListener(l, append(s.b.listeners[:len(s.b.listeners):len(s.b.listeners)], others...),
				func(name string) bool { return known[name] }, f)
			for _, r := range l.rds {
				s.mustExist(r.from, r.path, f)
			}
		},
		name: func(l *listenerResource) string { return l.listener.Name },
		tombstone: func(l *listenerResource, reason string) (*listenerResource, bool) {
			if !l.listener.Address.IsValid() || l.listener.Address.Port() == 0 {
				return nil, false
			}
			dead := *l.listener
			entomb(&dead, reason)
			return &listenerResource{listener: &dead}, true
		},
	}, problems)
	return append(all, found...)
}

// mustExist holds Envoy's rule that a discovery file is there when it is first named.
func (s *Source) mustExist(from fileSource, path string, f *findings) {
	if from.path == "" || s.docs[from.path] != nil {
		return
	}
	if d := readDocument(from.path); d.problem != nil && d.sum == (digest{}) {
		f.invalid(path, "%s %s", from.path, d.problem.Message)
	}
}

// withEndpoints gives EDS clusters their endpoints, and orders all by name.
func (s *Source) withEndpoints(clusters []*clusterResource, problems *[]mesh.Problem) []*mesh.Cluster {
	var out []*mesh.Cluster
	built, subs := map[string]builtCluster{}, map[subscription]*single[*mesh.Endpoints]{}
	for _, c := range clusters {
		if c.eds.path == "" {
			out = append(out, c.cluster)
			continue
		}
		sub := subscription{c.eds, c.serviceName}
		if subs[sub] == nil {
			subs[sub] = s.endpointsOf(sub, c.cluster.Name == s.r.localCluster, problems)
		}
		e := subs[sub].value
		b := s.built[c.cluster.Name]
		if b.base != c.cluster || b.endpoints != e {
			full := *c.cluster
			full.Endpoints = e
			b = builtCluster{c.cluster, e, &full}
		}
		built[c.cluster.Name] = b
		out = append(out, b.cluster)
	}
	s.built, s.endpoints = built, subs
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// endpointsOf reads a load assignment; local: of the local cluster.
func (s *Source) endpointsOf(sub subscription, local bool, problems *[]mesh.Problem) *single[*mesh.Endpoints] {
	s.want[sub.from] = true
	state := s.endpoints[sub]
	if state == nil {
		state = &single[*mesh.Endpoints]{}
	}
	next := *state
	next.update(s.document(sub.from.path), typeEndpoint, sub.name, "endpoints", func(e entry) (*mesh.Endpoints, *findings) {
		return s.r.endpoints(e.node, local)
	}, problems)
	if next.value == nil && next.empty {
		next.value = &mesh.Endpoints{} // Envoy: an answer without the cluster ends its warming
	}
	return &next
}

// evalRoutes reads the route configurations that listeners ask for.
func (s *Source) evalRoutes(ls []*listenerResource, clusters []*mesh.Cluster, problems *[]mesh.Problem) []*mesh.RouteConfig {
	var out []*mesh.RouteConfig
	subs, names := map[subscription]*single[*routeResource]{}, map[string]bool{}
	for _, l := range ls {
		if l.listener.Tombstone != "" {
			continue
		}
		for _, r := range l.rds {
			sub := subscription{r.from, r.name}
			if r.from.path == "" || subs[sub] != nil {
				continue
			}
			subs[sub] = s.routesOf(sub, clusters, problems)
			rc := subs[sub].value
			if rc == nil {
				continue
			}
			if names[sub.name] {
				*problems = append(*problems, mesh.Problem{Severity: mesh.Refused, File: sub.from.path,
					Resource: resourceName("route", sub.name), Message: "two files hold a route configuration of this name; the other one is used"})
				continue
			}
			names[sub.name] = true
			out = append(out, rc.config)
		}
	}
	s.routes = subs
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

func (s *Source) routesOf(sub subscription, clusters []*mesh.Cluster, problems *[]mesh.Problem) *single[*routeResource] {
	s.want[sub.from] = true
	next := single[*routeResource]{}
	if old := s.routes[sub]; old != nil {
		next = *old
	}
	known := mesh.Scope{Clusters: clusters}
	next.update(s.document(sub.from.path), typeRoutes, sub.name, "route", func(e entry) (*routeResource, *findings) {
		rc, f := s.r.routes(e.node)
		for _, ref := range rc.refs {
			if known.Cluster(ref.name) == nil {
				f.invalid(ref.path, "unknown cluster %q", ref.name)
			}
		}
		return rc, f
	}, problems)
	return &next
}

// dir is the directory whose moves reload the file.
func (f fileSource) dir() string {
	if f.watched != "" {
		return filepath.Clean(f.watched)
	}
	return filepath.Dir(f.path)
}
