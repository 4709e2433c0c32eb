// Token calls a cloud with the token that spoke-zone-agent keeps: it knows no
// credential.
//
//	token ACCOUNT|FILE URL
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: token ACCOUNT|FILE URL")
		os.Exit(64)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "token:", err)
		os.Exit(1)
	}
}

func run(account, where string) error {
	token, err := read(account)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodGet, where, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(account, "/") {
		if err := reject(account, token); err != nil {
			return err
		}
	}
	if resp.StatusCode > 299 {
		return fmt.Errorf("GET %s: %s", where, resp.Status)
	}
	return nil
}

// read returns the token in a delivered file, or asks the agent for one that is
// valid for a minute at least.
func read(account string) (string, error) {
	if strings.HasPrefix(account, "/") {
		text, err := os.ReadFile(account)
		return strings.TrimSpace(string(text)), err
	}
	resp, err := agent().Get("http://localhost/v1/accounts/" + url.PathEscape(account) + "/token?min_validity=1m")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return "", fmt.Errorf("the agent has no token: %s: %s", resp.Status, why)
	}
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("the agent's answer: %w", err)
	}
	return answer.Token, nil
}

// reject tells the agent that the cloud refused the token.
func reject(account, token string) error {
	sum := sha256.Sum256([]byte(token))
	body, err := json.Marshal(map[string]string{"tail": token[max(0, len(token)-6):], "sha256": hex.EncodeToString(sum[:]), "reason": "401"})
	if err != nil {
		return err
	}
	resp, err := agent().Post("http://localhost/v1/accounts/"+url.PathEscape(account)+"/rejected", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// agent speaks HTTP over the agent's socket.
func agent() *http.Client {
	socket := cmp.Or(os.Getenv("SPOKE_ZONE_SOCKET"), "/run/spoke-zone-agent/agent.sock")
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
}
