package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/account/profile"
)

// A Provider makes the calls of one account as its profile describes them: one
// attempt a call, no redirect followed, at most one request at a time where a
// rate limit says so. Set its fields before its first call.
type Provider struct {
	Profile profile.Profile
	Base    *url.URL
	HTTP    *http.Client // its redirect rules do not count
	Gate    *Gate
	// Values reads the secrets and what else the call carries, anew each time.
	Values func(profile.Call) (profile.Values, error)
	// Key reads the account's API key, which takes the place of a token; nil if
	// it has none.
	Key       func() (string, error)
	OnDate    func(date time.Time, rtt time.Duration) // told the date of each answer; may be nil
	Try       func(func() error) error                // calls again while a certificate's time may be our clock's fault; may be nil
	UserAgent string
	Timeout   time.Duration // of one call; 30 s if zero
}

// granted is what the cloud gave, and when it was asked.
type granted struct {
	profile.Grant
	asked string // the scope that was asked for
}

// login gets a token for the secrets.
func (p *Provider) login(ctx context.Context) (granted, error) {
	if p.Key != nil {
		key, err := p.Key()
		if err != nil {
			return granted{}, fmt.Errorf("api key: %w", err)
		}
		return granted{Grant: profile.Grant{Token: key}}, nil
	}
	v, err := p.Values(p.Profile.Login)
	if err != nil {
		return granted{}, err
	}
	return p.grant(ctx, p.Profile.Login, v, false)
}

// refresh gets the next token for tok by the refresh token given.
func (p *Provider) refresh(ctx context.Context, tok Token, renewer string) (granted, error) {
	v, err := p.Values(p.Profile.Refresh)
	if err != nil {
		return granted{}, err
	}
	v[profile.Token], v[profile.RefreshToken] = tok.Raw(), renewer
	return p.grant(ctx, p.Profile.Refresh, v, true)
}

// exchange gets a token for an authorization code.
func (p *Provider) exchange(ctx context.Context, code, redirectURI, verifier string) (granted, error) {
	v, err := p.Values(p.Profile.Code)
	if err != nil {
		return granted{}, err
	}
	v[profile.Code], v[profile.RedirectURI], v[profile.Verifier] = code, redirectURI, verifier
	return p.grant(ctx, p.Profile.Code, v, false)
}

func (p *Provider) grant(ctx context.Context, c profile.Call, v profile.Values, refresh bool) (granted, error) {
	r, err := p.Profile.Request(c, v)
	if err != nil {
		return granted{}, err
	}
	answer, err := p.do(ctx, r)
	if err != nil {
		return granted{}, err
	}
	g, err := p.Profile.Grant(answer, refresh, time.Now())
	if err != nil {
		return granted{}, fmt.Errorf("%s: %d: %w", r, answer.Status, err)
	}
	return granted{g, v[profile.Scope]}, nil
}

// probe asks whether the cloud takes tok: nil if it does, a *profile.Refusal
// with 401 if it does not.
func (p *Provider) probe(ctx context.Context, tok Token) error {
	v := profile.Values{profile.Token: tok.Raw()}
	if p.Key != nil {
		v = profile.Keyed(tok.Raw())
	}
	r, err := p.Profile.Request(p.Profile.Probe, v)
	if err != nil {
		return err
	}
	_, err = p.do(ctx, r)
	var refusal *profile.Refusal
	if errors.As(err, &refusal) && refusal.Status == http.StatusForbidden {
		return nil // it knows who asks
	}
	return err
}

// retire tells the cloud that tok is kept. Not every part of a cloud knows its
// other ways to send a token: this call is for the header.
func (p *Provider) retire(ctx context.Context, tok Token) error {
	header, _ := p.Profile.SendBy("header")
	r, err := header.Request(p.Profile.Retire, profile.Values{profile.Token: tok.Raw()})
	if err == nil {
		_, err = p.do(ctx, r)
	}
	return err
}

// do sends r and returns an answer with a status of 2xx, or a
// *profile.Refusal.
func (p *Provider) do(ctx context.Context, r profile.Request) (profile.Answer, error) {
	var res *http.Response
	var body []byte
	try := p.Try
	if try == nil {
		try = func(f func() error) error { return f() }
	}
	err := try(func() (err error) { res, body, err = p.send(ctx, r); return err })
	if err != nil {
		return profile.Answer{}, fmt.Errorf("%s: %s", r, profile.Clean(err.Error(), r.Secret))
	}
	answer := profile.Answer{Status: res.StatusCode, Header: res.Header, Body: body}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return answer, p.Profile.Refusal(r, answer, time.Now())
	}
	return answer, nil
}

// gateWait bounds how long one call waits for the gate, which others may have
// closed for an hour: the Keeper has more to do meanwhile, and comes back when it
// opens.
const gateWait = 2 * time.Minute

// send sends r once the gate lets it, and reads the whole answer.
func (p *Provider) send(ctx context.Context, r profile.Request) (*http.Response, []byte, error) {
	wait, stop := context.WithTimeout(ctx, gateWait)
	defer stop()
	if err := p.Gate.acquire(wait, true); err != nil {
		return nil, nil, fmt.Errorf("the cloud's rate limit is used up: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	var res *http.Response
	defer func() { p.Gate.Observe(res) }()
	at := p.Base.JoinPath(r.Path)
	at.RawQuery = r.Query
	req, err := http.NewRequestWithContext(ctx, r.Method, at.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, nil, errors.New("request cannot be made")
	}
	req.Header = r.Header
	if p.UserAgent != "" {
		req.Header.Set("User-Agent", p.UserAgent)
	}
	hc := *p.HTTP
	hc.Jar = nil
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	start := time.Now()
	res, err = hc.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // its URL may hold a secret
		}
		return nil, nil, err
	}
	defer res.Body.Close()
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil && p.OnDate != nil {
		p.OnDate(date, time.Since(start))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, profile.MaxBody+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read answer: %w", err)
	}
	return res, body, nil
}

func (p *Provider) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return 30 * time.Second
}

// canLogin reports whether the secrets suffice to get a token from nothing.
func (p *Provider) canLogin() bool {
	if p.Key != nil {
		return true
	}
	v, err := p.Values(p.Profile.Login)
	return err != nil || p.Profile.CanLogin(v) // an error is the login's to tell
}
