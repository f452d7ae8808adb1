// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/leno-mesh/leno/internal/agent"
	"github.com/leno-mesh/leno/internal/status"
)

// client talks to a running agent over its control socket.
type client struct{ http http.Client }

func newClient(stateDir string) *client {
	var c client
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", agent.AdminSocket(stateDir))
	}}
	return &c
}

// status asks for the agent's status.
func (c *client) status(ctx context.Context) (status.Status, error) {
	var st status.Status
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://leno/leno/status", nil)
	if err != nil {
		return st, err
	}
	res, err := c.http.Do(r)
	if err != nil {
		return st, fmt.Errorf("no agent answers (is `leno run` running, with the same --state-dir?): %w", err)
	}
	defer res.Body.Close()
	return st, json.NewDecoder(res.Body).Decode(&st)
}

// post sends a command.
func (c *client) post(ctx context.Context, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://leno"+path, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("the agent refused %s: %s", path, text)
	}
	return nil
}
