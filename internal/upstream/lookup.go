// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/leno-mesh/leno/internal/mesh"
)

// answer is what a name stands for; ttl is the smallest of the records used, 0 if it did not come from a server.
type answer struct {
	addrs []netip.Addr
	ttl   time.Duration
}

// lookup resolves host, unless it is an address, by the hosts file and then by DNS, in the family's manner. An answer without addresses is no
// error when the servers said so plainly (the name exists, or NXDOMAIN): the cluster is then empty, as in Envoy.
func (u *Upstream) lookup(ctx context.Context, host string, f mesh.DNSFamily, servers []netip.AddrPort) (answer, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return answer{addrs: []netip.Addr{ip.Unmap()}}, nil
	}
	if a := fromHostsFile(u.o.HostsFile, host); len(a) > 0 {
		if a = wanted(a, f); len(a) > 0 {
			return answer{addrs: a}, nil
		}
	}
	conf, err := u.resolvers(servers)
	if err != nil {
		return answer{}, err
	}
	switch f {
	case mesh.DNSV4Only:
		return conf.query(ctx, host, dns.TypeA)
	case mesh.DNSV6Only:
		return conf.query(ctx, host, dns.TypeAAAA)
	case mesh.DNSV4Preferred:
		return conf.prefer(ctx, host, dns.TypeA, dns.TypeAAAA)
	case mesh.DNSAll:
		return conf.both(ctx, host)
	default:
		return conf.prefer(ctx, host, dns.TypeAAAA, dns.TypeA)
	}
}

// wanted filters the hosts file's addresses as the family asks.
func wanted(addrs []netip.Addr, f mesh.DNSFamily) []netip.Addr {
	v4 := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !a.Is4() })
	v6 := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return a.Is4() })
	first, second := v6, v4
	switch f {
	case mesh.DNSV4Only:
		return v4
	case mesh.DNSV6Only:
		return v6
	case mesh.DNSAll:
		return addrs
	case mesh.DNSV4Preferred:
		first, second = v4, v6
	}
	if len(first) > 0 {
		return first
	}
	return second
}

func fromHostsFile(path, host string) []netip.Addr {
	f, err := os.Open(path)
	if err != nil {
		return nil // a machine without one
	}
	defer f.Close()
	want := strings.TrimSuffix(strings.ToLower(host), ".")
	var all []netip.Addr
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(fields[0])
		if err != nil || ip.Zone() != "" {
			continue
		}
		for _, n := range fields[1:] {
			if strings.EqualFold(n, want) {
				all = append(all, ip.Unmap())
				break
			}
		}
	}
	return all
}

// resolver is how queries are asked: servers in order, search domains, patience.
type resolver struct{ dns.ClientConfig }

func (u *Upstream) resolvers(servers []netip.AddrPort) (resolver, error) {
	if len(servers) == 0 {
		conf, err := dns.ClientConfigFromFile(u.o.ResolvConf)
		if err != nil {
			return resolver{}, fmt.Errorf("read %s: %w", u.o.ResolvConf, err)
		}
		for i, s := range conf.Servers {
			conf.Servers[i] = net.JoinHostPort(s, conf.Port)
		}
		return resolver{*conf}, nil
	}
	conf := dns.ClientConfig{Ndots: 1, Timeout: 5, Attempts: 2}
	for _, s := range servers {
		conf.Servers = append(conf.Servers, s.String())
	}
	return resolver{conf}, nil
}

// prefer asks for the first type and, if the name has none of it, for the second.
func (r resolver) prefer(ctx context.Context, host string, first, second uint16) (answer, error) {
	a, err := r.query(ctx, host, first)
	if err != nil || len(a.addrs) > 0 {
		return a, err
	}
	return r.query(ctx, host, second)
}

func (r resolver) both(ctx context.Context, host string) (answer, error) {
	a, err := r.query(ctx, host, dns.TypeA)
	b, err6 := r.query(ctx, host, dns.TypeAAAA)
	if err != nil && err6 != nil {
		return answer{}, err
	}
	a.addrs = append(a.addrs, b.addrs...)
	if a.ttl == 0 || (b.ttl > 0 && b.ttl < a.ttl) {
		a.ttl = b.ttl
	}
	return a, nil
}

// query asks for one type, with search domains as resolv.conf(5) says.
func (r resolver) query(ctx context.Context, host string, qtype uint16) (answer, error) {
	var last answer
	var errs []error
	for _, fqdn := range r.NameList(host) {
		a, found, err := r.ask(ctx, fqdn, qtype)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if found {
			return a, nil
		}
		last = a
	}
	if errs != nil {
		return answer{}, errors.Join(errs...)
	}
	return last, nil
}

// ask sends one question to the servers in turn. found is false for NXDOMAIN.
func (r resolver) ask(ctx context.Context, fqdn string, qtype uint16) (a answer, found bool, err error) {
	m := new(dns.Msg)
	m.SetQuestion(fqdn, qtype)
	m.SetEdns0(1232, false)
	err = errors.New("no DNS servers are configured")
	for range max(r.Attempts, 1) {
		for _, server := range r.Servers {
			var in *dns.Msg
			if in, err = r.exchange(ctx, m, server); err != nil {
				err = fmt.Errorf("ask %s for %s: %w", server, fqdn, err)
				continue
			}
			switch in.Rcode {
			case dns.RcodeSuccess:
				return records(in, qtype), true, nil
			case dns.RcodeNameError:
				return answer{}, false, nil
			}
			err = fmt.Errorf("ask %s for %s: the server says %s", server, fqdn, dns.RcodeToString[in.Rcode])
		}
	}
	return answer{}, false, err
}

// exchange asks over UDP, and over TCP when the answer was cut.
func (r resolver) exchange(ctx context.Context, m *dns.Msg, server string) (*dns.Msg, error) {
	c := dns.Client{Timeout: time.Duration(max(r.Timeout, 1)) * time.Second}
	in, _, err := c.ExchangeContext(ctx, m, server)
	if err != nil || !in.Truncated {
		return in, err
	}
	c.Net = "tcp"
	in, _, err = c.ExchangeContext(ctx, m, server)
	return in, err
}

// records reads the addresses; aliases are in the same answer, whatever their names.
func records(in *dns.Msg, qtype uint16) answer {
	var a answer
	for _, rr := range in.Answer {
		var ip netip.Addr
		var ok bool
		switch rr := rr.(type) {
		case *dns.A:
			ip, ok = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			ip, ok = netip.AddrFromSlice(rr.AAAA)
		case *dns.CNAME:
		default:
			continue
		}
		ttl := time.Duration(rr.Header().Ttl) * time.Second
		if a.ttl == 0 || ttl < a.ttl {
			a.ttl = ttl
		}
		if ok && (qtype == dns.TypeA) == ip.Is4() {
			a.addrs = append(a.addrs, ip)
		}
	}
	return a
}
