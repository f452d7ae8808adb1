// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/leno-mesh/leno/internal/mesh"
)

func rbac(p *httprbacv3.RBAC, path string, f *findings) *mesh.RBAC {
	return &mesh.RBAC{
		Rules:           rbacRules(p.GetRules(), join(path, "rules"), f),
		Shadow:          rbacRules(p.GetShadowRules(), join(path, "shadow_rules"), f),
		RulesStatPrefix: p.GetRulesStatPrefix(), ShadowStatPrefix: p.GetShadowRulesStatPrefix(),
		PerRuleStats: p.GetTrackPerRuleStats(),
	}
}

// networkRBAC reads a filter that judges connections.
func networkRBAC(p *networkrbacv3.RBAC, path string, f *findings) *mesh.NetworkRBAC {
	if p.GetEnforcementType() != networkrbacv3.RBAC_ONE_TIME_ON_FIRST_BYTE {
		f.refused(join(path, "enforcement_type"), "%s is not supported: leno accepts ONE_TIME_ON_FIRST_BYTE", p.GetEnforcementType())
	}
	noRequests(p.GetRules(), join(path, "rules"), f)
	noRequests(p.GetShadowRules(), join(path, "shadow_rules"), f)
	return &mesh.NetworkRBAC{
		StatPrefix:       p.GetStatPrefix(),
		ShadowStatPrefix: p.GetShadowRulesStatPrefix(),
		Rules:            rbacRules(p.GetRules(), join(path, "rules"), f),
		Shadow:           rbacRules(p.GetShadowRules(), join(path, "shadow_rules"), f),
		Delay:            duration(p.GetDelayDeny(), 0, join(path, "delay_deny"), f).Truncate(time.Millisecond),
	}
}

// noRequests says where rules of connections look at requests, which Envoy does not take.
func noRequests(p *rbacv3.RBAC, path string, f *findings) {
	for _, name := range slices.Sorted(maps.Keys(p.GetPolicies())) {
		policy, sub := p.GetPolicies()[name], fmt.Sprintf("%s[%q]", join(path, "policies"), name)
		for i, q := range policy.GetPermissions() {
			if permissionOfRequests(q) {
				f.invalid(at(join(sub, "permissions"), i), "header cannot be asked for in a network filter")
			}
		}
		for i, q := range policy.GetPrincipals() {
			if principalOfRequests(q) {
				f.invalid(at(join(sub, "principals"), i), "header cannot be asked for in a network filter")
			}
		}
	}
}

func permissionOfRequests(p *rbacv3.Permission) bool {
	of := p.GetAndRules().GetRules()
	if p.GetOrRules() != nil {
		of = p.GetOrRules().GetRules()
	}
	return p.GetHeader() != nil || p.GetNotRule() != nil && permissionOfRequests(p.GetNotRule()) || slices.ContainsFunc(of, permissionOfRequests)
}

func principalOfRequests(p *rbacv3.Principal) bool {
	of := p.GetAndIds().GetIds()
	if p.GetOrIds() != nil {
		of = p.GetOrIds().GetIds()
	}
	return p.GetHeader() != nil || p.GetNotId() != nil && principalOfRequests(p.GetNotId()) || slices.ContainsFunc(of, principalOfRequests)
}

var rbacActions = map[rbacv3.RBAC_Action]mesh.RBACAction{
	rbacv3.RBAC_ALLOW: mesh.RBACAllow, rbacv3.RBAC_DENY: mesh.RBACDeny, rbacv3.RBAC_LOG: mesh.RBACLog}

// rbacRules reads policies; nil: there are none. A condition that is not supported is never met here, and refused by the table.
func rbacRules(p *rbacv3.RBAC, path string, f *findings) *mesh.RBACRules {
	if p == nil {
		return nil
	}
	out := &mesh.RBACRules{Action: rbacActions[p.GetAction()]}
	for _, name := range slices.Sorted(maps.Keys(p.GetPolicies())) {
		policy := p.GetPolicies()[name]
		r := &rbacReader{f}
		sub := fmt.Sprintf("%s[%q]", join(path, "policies"), name)
		out.Policies = append(out.Policies, mesh.RBACPolicy{Name: name,
			Permissions: r.permissions(policy.GetPermissions(), join(sub, "permissions")),
			Principals:  r.principals(policy.GetPrincipals(), join(sub, "principals"))})
	}
	return out
}

type rbacReader struct{ f *findings }

func (r *rbacReader) permissions(list []*rbacv3.Permission, path string) []mesh.RBACCondition {
	var out []mesh.RBACCondition
	for i, p := range list {
		out = append(out, r.permission(p, at(path, i)))
	}
	return out
}

func (r *rbacReader) permission(p *rbacv3.Permission, path string) mesh.RBACCondition {
	switch s := p.GetRule().(type) {
	case *rbacv3.Permission_AndRules:
		return mesh.RBACCondition{Kind: mesh.RBACAnd, Of: r.permissions(s.AndRules.GetRules(), join(path, "and_rules.rules"))}
	case *rbacv3.Permission_OrRules:
		return mesh.RBACCondition{Kind: mesh.RBACOr, Of: r.permissions(s.OrRules.GetRules(), join(path, "or_rules.rules"))}
	case *rbacv3.Permission_NotRule:
		return mesh.RBACCondition{Kind: mesh.RBACNot, Of: []mesh.RBACCondition{r.permission(s.NotRule, join(path, "not_rule"))}}
	case *rbacv3.Permission_Any:
		return mesh.RBACCondition{Kind: mesh.RBACAny}
	case *rbacv3.Permission_Header:
		if h, ok := headerMatch(s.Header, join(path, "header"), r.f); ok {
			return mesh.RBACCondition{Kind: mesh.RBACHeader, Header: &h}
		}
	case *rbacv3.Permission_UrlPath:
		return r.text(mesh.RBACPath, s.UrlPath.GetPath(), join(path, "url_path.path"))
	case *rbacv3.Permission_RequestedServerName:
		return r.text(mesh.RBACServerName, s.RequestedServerName, join(path, "requested_server_name"))
	case *rbacv3.Permission_DestinationIp:
		return r.address(mesh.RBACDestinationIP, s.DestinationIp, join(path, "destination_ip"))
	case *rbacv3.Permission_DestinationPort:
		n := int32(s.DestinationPort)
		return mesh.RBACCondition{Kind: mesh.RBACDestinationPort, FirstPort: n, EndPort: n + 1}
	case *rbacv3.Permission_DestinationPortRange:
		first, end := s.DestinationPortRange.GetStart(), s.DestinationPortRange.GetEnd()
		if first < 0 || end > 65536 || first >= end {
			r.f.invalid(join(path, "destination_port_range"), "must go from 0 or more up to 65536 or less, and hold a port")
		}
		return mesh.RBACCondition{Kind: mesh.RBACDestinationPort, FirstPort: first, EndPort: end}
	case *rbacv3.Permission_Metadata:
		return r.metadata(s.Metadata, false, join(path, "metadata")) //nolint:staticcheck // deprecated, and still in files
	case *rbacv3.Permission_SourcedMetadata:
		return r.sourced(s.SourcedMetadata, join(path, "sourced_metadata"))
	}
	return mesh.RBACCondition{Kind: mesh.RBACNever}
}

func (r *rbacReader) sourced(p *rbacv3.SourcedMetadata, path string) mesh.RBACCondition {
	return r.metadata(p.GetMetadataMatcher(), p.GetMetadataSource() == rbacv3.MetadataSource_ROUTE, join(path, "metadata_matcher"))
}

func (r *rbacReader) metadata(p *matcherv3.MetadataMatcher, route bool, path string) mesh.RBACCondition {
	m, ok := metadataMatch(p, route, path, r.f)
	if !ok {
		return mesh.RBACCondition{Kind: mesh.RBACNever}
	}
	return mesh.RBACCondition{Kind: mesh.RBACMetadata, Metadata: m}
}

func (r *rbacReader) principals(list []*rbacv3.Principal, path string) []mesh.RBACCondition {
	var out []mesh.RBACCondition
	for i, p := range list {
		out = append(out, r.principal(p, at(path, i)))
	}
	return out
}

func (r *rbacReader) principal(p *rbacv3.Principal, path string) mesh.RBACCondition {
	switch s := p.GetIdentifier().(type) {
	case *rbacv3.Principal_AndIds:
		return mesh.RBACCondition{Kind: mesh.RBACAnd, Of: r.principals(s.AndIds.GetIds(), join(path, "and_ids.ids"))}
	case *rbacv3.Principal_OrIds:
		return mesh.RBACCondition{Kind: mesh.RBACOr, Of: r.principals(s.OrIds.GetIds(), join(path, "or_ids.ids"))}
	case *rbacv3.Principal_NotId:
		return mesh.RBACCondition{Kind: mesh.RBACNot, Of: []mesh.RBACCondition{r.principal(s.NotId, join(path, "not_id"))}}
	case *rbacv3.Principal_Any:
		return mesh.RBACCondition{Kind: mesh.RBACAny}
	case *rbacv3.Principal_Header:
		if h, ok := headerMatch(s.Header, join(path, "header"), r.f); ok {
			return mesh.RBACCondition{Kind: mesh.RBACHeader, Header: &h}
		}
	case *rbacv3.Principal_UrlPath:
		return r.text(mesh.RBACPath, s.UrlPath.GetPath(), join(path, "url_path.path"))
	case *rbacv3.Principal_SourceIp:
		return r.address(mesh.RBACSourceIP, s.SourceIp, join(path, "source_ip")) //nolint:staticcheck // deprecated, and still in files
	case *rbacv3.Principal_DirectRemoteIp:
		return r.address(mesh.RBACDirectRemoteIP, s.DirectRemoteIp, join(path, "direct_remote_ip"))
	case *rbacv3.Principal_RemoteIp:
		return r.address(mesh.RBACRemoteIP, s.RemoteIp, join(path, "remote_ip"))
	case *rbacv3.Principal_Metadata:
		return r.metadata(s.Metadata, false, join(path, "metadata")) //nolint:staticcheck // deprecated, and still in files
	case *rbacv3.Principal_SourcedMetadata:
		return r.sourced(s.SourcedMetadata, join(path, "sourced_metadata"))
	case *rbacv3.Principal_Authenticated_:
		r.text(mesh.RBACNever, s.Authenticated.GetPrincipalName(), join(path, "authenticated.principal_name")) // for its errors
	}
	return mesh.RBACCondition{Kind: mesh.RBACNever}
}

func (r *rbacReader) text(k mesh.RBACKind, p *matcherv3.StringMatcher, path string) mesh.RBACCondition {
	if p == nil {
		return mesh.RBACCondition{Kind: mesh.RBACNever}
	}
	m, ok := stringMatch(p, path, r.f)
	if !ok {
		return mesh.RBACCondition{Kind: mesh.RBACNever}
	}
	return mesh.RBACCondition{Kind: k, Text: &m}
}

func (r *rbacReader) address(k mesh.RBACKind, p *corev3.CidrRange, path string) mesh.RBACCondition {
	within, ok := prefix(p, path, r.f)
	if !ok {
		return mesh.RBACCondition{Kind: mesh.RBACNever}
	}
	return mesh.RBACCondition{Kind: k, Range: within}
}
