// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

// Type URLs of what discovery files hold.
const (
	typePrefix   = "type.googleapis.com/"
	typeListener = "envoy.config.listener.v3.Listener"
	typeCluster  = "envoy.config.cluster.v3.Cluster"
	typeRoutes   = "envoy.config.route.v3.RouteConfiguration"
	typeEndpoint = "envoy.config.endpoint.v3.ClusterLoadAssignment"
)

// digest is the content of a resource without its place.
type digest [sha256.Size]byte

// document is one discovery file as it was read last. Immutable.
type document struct {
	path    string
	sum     digest
	entries []entry
	// problem says why the file as a whole is of no use; then there are no entries.
	problem *mesh.Problem
}

// entry is one member of a DiscoveryResponse.
type entry struct {
	node  *yaml.Node // without "@type"
	typ   string     // message name
	name  string
	path  string // resources[3]
	sum   digest
	ttled bool
}

// responseFields are the fields of a DiscoveryResponse; only the resources matter in a file.
var responseFields = map[string]bool{"version_info": true, "resources": true, "canary": true, "type_url": true,
	"nonce": true, "control_plane": true, "resource_errors": true}

// readDocument reads and parses a file; it never fails, but may hold a problem.
func readDocument(path string) *document {
	d := &document{path: path}
	data, err := readRegular(path)
	if err != nil {
		d.fail(0, "", err.Error())
		return d
	}
	d.sum = sha256.Sum256(data)
	return d.parse(data)
}

func (d *document) fail(line int, field, msg string) {
	d.entries = nil
	d.problem = &mesh.Problem{Severity: mesh.Rejected, File: d.path, Line: line, Field: field, Message: msg}
}

func (d *document) parse(data []byte) *document {
	root, err := parseText(data)
	if err != nil {
		e := err.(*textError) //nolint:errorlint // parseText returns nothing else
		d.fail(e.line, "", e.msg)
		return d
	}
	if root.Kind != yaml.MappingNode {
		d.fail(root.Line, "", "must be a DiscoveryResponse: a mapping with resources")
		return d
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if k := root.Content[i]; !responseFields[snake(k.Value)] {
			d.fail(k.Line, k.Value, "no such field in a DiscoveryResponse; leno reads version_info and resources")
			return d
		}
	}
	list := resolve(child(root, "resources"))
	switch {
	case list == nil || isNull(list):
		return d
	case list.Kind != yaml.SequenceNode:
		d.fail(list.Line, "resources", "must be a list")
		return d
	}
	for i, n := range list.Content {
		if !d.add(resolve(n), at("resources", i)) {
			return d
		}
	}
	return d
}

// add takes one resource, looking through Envoy's wrapper with a name and a version.
func (d *document) add(n *yaml.Node, path string) bool {
	e := entry{path: path}
	for range 2 {
		t := resolve(child(n, "@type"))
		if t == nil || t.Kind != yaml.ScalarNode {
			d.fail(n.Line, path, `"@type" is missing`)
			return false
		}
		e.typ = t.Value[strings.LastIndexByte(t.Value, '/')+1:]
		if e.typ != "envoy.service.discovery.v3.Resource" {
			break
		}
		inner := resolve(child(n, "resource"))
		if inner == nil {
			d.fail(n.Line, path, "resource is missing")
			return false
		}
		e.ttled = child(n, "ttl") != nil
		n, e.path = inner, join(e.path, "resource")
	}
	e.node = withoutType(n)
	key := "name"
	if e.typ == typeEndpoint {
		key = "cluster_name"
	}
	if v := resolve(child(n, key)); v != nil && v.Kind == yaml.ScalarNode {
		e.name = v.Value
	}
	h := sha256.New()
	budget := maxNodes
	hashNode(h, e.node, &budget)
	h.Sum(e.sum[:0])
	d.entries = append(d.entries, e)
	return true
}

// hashNode feeds the content of a node, not its place, to h. Aliases of aliases may be huge: what is beyond the
// budget is refused by the decoder in any case.
func hashNode(h hash.Hash, n *yaml.Node, budget *int) {
	n = resolve(n)
	if *budget--; *budget < 0 {
		return
	}
	fmt.Fprintf(h, "%d%s%d:%s;", n.Kind, n.Tag, len(n.Value), n.Value)
	for _, c := range n.Content {
		hashNode(h, c, budget)
	}
	h.Write([]byte{0})
}
