package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

func statusOf(err error) int {
	var refusal *StatusError
	if errors.As(err, &refusal) {
		return refusal.Status
	}
	return 0
}

// TestRecovery gets a device's secrets as an operator does.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		cloud.AddDevice(cloudtest.Device{ID: 7, CPUID: "cpu-7", UUID: "uuid-7"})
		cloud.AddUser(cloudtest.User{Username: "op", Password: "p-secret"})
		cloud.AddUser(cloudtest.User{Username: "root", Password: "p-secret", Super: true})
		cloud.AddUser(cloudtest.User{Username: "locked", Password: "p-secret", Locked: true})
		base, err := url.Parse(cloud.Addrs().API)
		if err != nil {
			t.Fatal(err)
		}
		token := ""
		c := &Client{Base: base, HTTP: cloud.HTTPClient(), Token: func(context.Context) (string, error) { return token, nil }}
		for _, tt := range []struct {
			user, password, id, cpuID string
			login, secrets            int
		}{
			{"op", "p-secret", "7", "cpu-7", 0, 0},
			{"root", "p-secret", "7", "", 0, 0},
			{"op", "wrong-one", "7", "cpu-7", http.StatusUnauthorized, 0},
			{"locked", "p-secret", "7", "cpu-7", http.StatusForbidden, 0},
			{"op", "p-secret", "7", "cpu-8", 0, http.StatusBadRequest},
			{"op", "p-secret", "7", "", 0, http.StatusBadRequest},
			{"root", "p-secret", "8", "", 0, http.StatusNotFound},
		} {
			token, err = c.LoginUser(t.Context(), tt.user, tt.password)
			if got := statusOf(err); got != tt.login {
				t.Fatalf("%+v: login got %d, %v", tt, got, err)
			}
			if err != nil {
				if strings.Contains(err.Error(), tt.password) {
					t.Errorf("the error repeats the password: %v", err)
				}
				continue
			}
			s, err := c.DeviceSecrets(t.Context(), tt.id, tt.cpuID)
			if got := statusOf(err); got != tt.secrets {
				t.Errorf("%+v: secrets got %d, %v", tt, got, err)
			}
			if err == nil && (s.CPUID != "cpu-7" || s.UUID != "uuid-7" || checkToken(s.Token) != nil || strings.Contains(s.String(), s.Token)) {
				t.Errorf("%+v: got %v", tt, s)
			}
		}
	})
}
