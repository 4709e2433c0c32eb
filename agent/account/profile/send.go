package profile

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// A Send is how a request carries a token.
type Send struct {
	Header    string // canonical name
	Prefix    string // before the token in the header, with its space
	Parameter string // name in the query; empty: the cloud takes none there
	Cookie    string // name; likewise
	By        Style
}

// A Style is which of the ways of a Send is gone.
type Style string

// The styles.
const (
	ByHeader    Style = "" // and "header"
	ByParameter Style = "parameter"
	ByCookie    Style = "cookie"
)

// SendBy is p with tokens and API keys sent in the style of that name. ok is
// false where the cloud takes neither so, or there is no such style.
func (p Profile) SendBy(name string) (styled Profile, ok bool) {
	by := Style(name)
	if name == "header" {
		by = ByHeader
	}
	p.Send.By, p.Key.By = by, by
	return p, p.Send.takes()
}

func (s Send) takes() bool {
	switch s.By {
	case ByHeader:
		return s.Header != ""
	case ByParameter:
		return s.Parameter != ""
	case ByCookie:
		return s.Cookie != ""
	}
	return false
}

// Carry puts token into the header or into the query, which it returns, in the
// style of s.
func (s Send) Carry(h http.Header, query, token string) (string, error) {
	switch {
	case !carriable(token) || s.By == ByCookie && strings.ContainsAny(token, `",;\`): // RFC 6265, section 4.1.1
		return "", errors.New("the token is none that a request can carry")
	case !s.takes():
		return "", errors.New("the cloud takes no token so")
	case s.By == ByParameter && query != "":
		return query + "&" + s.parameter(token), nil
	case s.By == ByParameter:
		return s.parameter(token), nil
	case s.By == ByCookie:
		h.Set("Cookie", s.Cookie+"="+token)
	default:
		h.Set(s.Header, s.Prefix+token)
	}
	return query, nil
}

func (s Send) parameter(token string) string { return s.Parameter + "=" + url.QueryEscape(token) }

// Hide takes token out of an address that a cloud sends back, where requests
// carry it in theirs.
func (s Send) Hide(address, token string) string {
	if s.By != ByParameter || token == "" {
		return address
	}
	return strings.ReplaceAll(strings.ReplaceAll(address, url.QueryEscape(token), ""), token, "")
}
