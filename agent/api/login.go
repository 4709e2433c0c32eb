package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// LoginDevice offers id.Token, which may have expired, for a fresh one. It
// returns "" when the server gave none because the old one is still good: keep
// what you have. The server renews in the last 12 hours of a token's life and
// says so with 201, but a token in any 2xx answer is taken. It refuses with
// 400 when a field is missing or wrong.
//
// No error repeats the token or another part of the request.
func (c *Client) LoginDevice(ctx context.Context, id Identity) (token string, err error) {
	k := &call{
		method: http.MethodPost, path: []string{"loginDevice"},
		login: true, policy: stay, secret: []string{id.Token, id.CPUID, id.UUID},
	}
	status, body, err := c.json(ctx, k, map[string]string{"token": id.Token, "cpu_id": id.CPUID, "uuid": id.UUID}, 2*maxToken)
	if err != nil {
		return "", err
	}
	if token, err = decodeLogin(status, body); err != nil {
		return "", c.malformed(k, fmt.Errorf("%d: %w", status, err))
	}
	return token, nil
}

// decodeLogin returns the token in the body of a 2xx answer, or "".
func decodeLogin(status int, body []byte) (string, error) {
	if len(body) == 0 && status != http.StatusCreated {
		return "", nil
	}
	f, err := decodeObject(body)
	if err != nil {
		return "", err
	}
	if f.null("token") {
		if status == http.StatusCreated {
			return "", fmt.Errorf("%w: no token, though it says that it made one", errShape)
		}
		return "", nil
	}
	var token string
	if json.Unmarshal(f["token"], &token) != nil {
		return "", fmt.Errorf("%w: token is not a string", errShape)
	}
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("%w: token %w", errShape, err)
	}
	return token, nil
}

// checkToken tells a JWT (RFC 7519) in its compact form from everything else
// that a string may be. What is in it is not ours to judge.
func checkToken(token string) error {
	if len(token) > maxToken {
		return fmt.Errorf("is longer than %d bytes", maxToken)
	}
	parts := strings.Split(token, ".")
	if !visible(token) || len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return errors.New("is not a JWT")
	}
	return nil
}
