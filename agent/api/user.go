package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// DeviceSecrets are what a device logs in with, as the cloud knows them. They
// do not print their token.
type DeviceSecrets struct{ CPUID, UUID, Token string }

// String names the device without its token.
func (s DeviceSecrets) String() string { return s.identity().String() }

// GoString is String, for %#v.
func (s DeviceSecrets) GoString() string { return s.String() }

func (s DeviceSecrets) identity() Identity {
	return Identity{Token: s.Token, CPUID: s.CPUID, UUID: s.UUID}
}

// LoginUser returns the token of a user, an operator, for a name and a password
// (docs.spoke.zone, "Access Tokens"). 401 is wrong credentials, 403 a locked
// account. No error repeats the password.
func (c *Client) LoginUser(ctx context.Context, username, password string) (token string, err error) {
	k := &call{method: http.MethodPost, path: []string{"login"}, login: true, policy: stay, secret: []string{password}}
	status, body, err := c.json(ctx, k, map[string]string{"username": username, "password": password}, 2*maxToken)
	if err != nil {
		return "", err
	}
	if token, err = decodeLogin(status, body); err == nil && token == "" {
		err = fmt.Errorf("%w: token is missing", errShape)
	}
	if err != nil {
		return "", c.malformed(k, fmt.Errorf("%d: %w", status, err))
	}
	return token, nil
}

// DeviceSecrets returns the secrets of device id, its token renewed, to a user:
// c.Token is the user's. Users below super must name the device's cpuID. It is
// how a device is recovered whose token can be renewed no more.
func (c *Client) DeviceSecrets(ctx context.Context, id, cpuID string) (DeviceSecrets, error) {
	k := &call{method: http.MethodGet, path: []string{"api/v2/devices", url.PathEscape(id), "secrets"}, policy: stay}
	if err := checkID(id); err != nil {
		return DeviceSecrets{}, idError("device", err)
	}
	var ask any
	if cpuID != "" {
		ask = map[string]string{"cpuId": cpuID}
	}
	_, body, err := c.json(ctx, k, ask, 2*maxToken)
	if err != nil {
		return DeviceSecrets{}, err
	}
	f, err := decodeObject(body)
	if err != nil {
		return DeviceSecrets{}, c.malformed(k, err)
	}
	s := DeviceSecrets{CPUID: f.text("cpuId"), UUID: f.text("uuid"), Token: f.text("token")}
	if s.Token == "" {
		return s, c.malformed(k, fmt.Errorf("%w: token is missing", errShape))
	}
	if err := checkToken(s.Token); err != nil {
		return DeviceSecrets{}, c.malformed(k, fmt.Errorf("%w: token %w", errShape, err))
	}
	return s, nil
}
