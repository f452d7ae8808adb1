// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leno-mesh/leno/internal/mesh"
	"github.com/leno-mesh/leno/internal/table"
	"github.com/leno-mesh/leno/internal/upstream"
	"github.com/leno-mesh/leno/internal/xds"
)

func newExplainCommand() *cobra.Command {
	var file, tier string
	var o output
	var r request
	c := &cobra.Command{
		Use: "explain -c FILE", Short: "Say which tier carries what, and why; or what becomes of one request", Args: cobra.NoArgs,
		Long: `Without --request: for each listener and route, which tier carries it, and why.

With --request: the filter chain, virtual host and route that the request meets, what the filters
do, and the answer, or the clusters and hosts that it could go to. Nothing is sent. What is left to
chance is not drawn: fractions are taken as met, and all shares of a split are listed.`,
		Example: "  leno explain -c envoy.yaml --request 'GET http://shop/cart' -H 'x-user: ann'",
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := compile(c.Context(), file, tier)
			if err != nil {
				return err
			}
			if r.line == "" {
				return o.print(c.OutOrStdout(), m.tables.Reasons, func(w io.Writer) { printReasons(w, m.tables.Reasons) })
			}
			a, err := r.explain(m)
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), a, func(w io.Writer) { printAnswer(w, a) })
		},
	}
	c.Flags().StringVar(&r.line, "request", "", "METHOD URL of a request")
	c.Flags().StringArrayVarP(&r.headers, "header", "H", nil, "a header of it, 'name: value'; may be given again")
	c.Flags().StringVar(&r.listener, "listener", "", "the listener that it comes to (default: the one with the URL's port, or the only one)")
	c.Flags().StringVar(&r.from, "from", "", "the client's IP address (default: loopback)")
	c.Flags().StringVarP(&file, "config-path", "c", "", "Envoy bootstrap file, YAML or JSON")
	c.Flags().StringVar(&tier, "tier", "auto", "auto, socket or proxy")
	o.flag(c)
	return c
}

// dnsWait bounds how long explain waits for names; what is not resolved by then is explained as it stands.
const dnsWait = 3 * time.Second

// meshed is a configuration with all that is made of it.
type meshed struct {
	config *mesh.Config
	hosts  *mesh.Hosts
	tables *table.Tables
}

// compile reads a configuration and resolves its names.
func compile(ctx context.Context, file, tier string) (*meshed, error) {
	if file == "" {
		return nil, errors.New("no configuration: give an Envoy bootstrap file with -c FILE")
	}
	mode, err := table.ParseMode(tier)
	if err != nil {
		return nil, fmt.Errorf("--tier: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	_, scope, err := xds.Load(xds.Options{Path: file, Cgroup: "/", Log: quiet})
	var invalid *xds.Invalid
	if errors.As(err, &invalid) {
		printProblems(os.Stderr, invalid.Problems)
		return nil, exitCode(1)
	} else if err != nil {
		return nil, err
	}
	m := &meshed{config: &mesh.Config{Scopes: []*mesh.Scope{scope}}}
	m.hosts = hosts(ctx, m.config, quiet)
	m.tables, err = table.Compile(nil, table.Input{Config: m.config, Hosts: m.hosts, Mode: mode})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// hosts resolves the clusters' names, for at most dnsWait. Health checks are not sent: their hosts are taken for healthy.
func hosts(ctx context.Context, cfg *mesh.Config, log *slog.Logger) *mesh.Hosts {
	ctx, cancel := context.WithTimeout(ctx, dnsWait)
	defer cancel()
	up := upstream.New(upstream.Options{Log: log, SkipChecks: true})
	done := make(chan struct{})
	go func() { defer close(done); _ = up.Run(ctx) }()
	defer func() { cancel(); <-done }()
	up.Set(cfg)
	for {
		h := up.Hosts()
		if allReady(cfg, h) {
			return h
		}
		select {
		case <-ctx.Done():
			return h
		case <-up.Changed():
		}
	}
}

func allReady(cfg *mesh.Config, h *mesh.Hosts) bool {
	for _, sc := range cfg.Scopes {
		for _, c := range sc.Clusters {
			if !h.Set(mesh.ClusterID{Scope: sc.Cgroup, Name: c.Name}).Ready {
				return false
			}
		}
	}
	return true
}

func printReasons(w io.Writer, reasons []table.Reason) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "LISTENER\tROUTE\tTIER\tWHY")
	for _, r := range reasons {
		listener, route := r.Listener, r.Route
		if r.Chain != "" {
			listener += " " + r.Chain
		}
		if route == "" {
			route = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", listener, route, r.Tier, r.Why)
	}
	tw.Flush()
}
