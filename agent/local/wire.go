// Package local is how programs on the gateway talk to the agent: HTTP over a
// unix socket, with rights by the peer's credentials.
//
//	GET  /v1/status[?watch=1]                        everybody
//	GET  /v1/ota                                     everybody
//	GET  /v1/accounts/NAME/token?min_validity=10m    trusted
//	GET  /v1/accounts/NAME/watch                     trusted
//	POST /v1/accounts/NAME/rejected                  trusted
//	ANY  /v1/proxy/NAME/...                          trusted
//	POST /v1/accounts/NAME/renew                     trusted
//	POST /v1/accounts/NAME/adopt                     root and the agent's own user
//	POST /v1/accounts/NAME/login                     root and the agent's own user
//	POST /v1/ota/MODULE/check                        trusted
//	POST /v1/ota/MODULE/fetch                        trusted
//	POST /v1/data-files?type=log&module=&name=       trusted
//	POST /v1/publish                                 trusted
//	GET  /v1/subscribe?filter=ctrl/%23               trusted
//	GET  /metrics                                    everybody
//
// A second socket gives tokens to systemd's LoadCredential=.
//
// Trusted are root, the agent's own user and the members of a group from the
// settings. Answers are JSON, and newline-delimited JSON where they go on; the
// metrics are Prometheus' text.
package local

import "time"

// A TokenAnswer is a token that is valid for at least as long as was asked,
// or, if Stale, the newest there is.
type TokenAnswer struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires,omitzero"`
	Stale   bool      `json:"stale"`
	Account string    `json:"account"`
}

// String tells the account alone, so that an answer that is logged gives
// nothing away.
func (t TokenAnswer) String() string { return "token of " + t.Account }

// GoString is as String.
func (t TokenAnswer) GoString() string { return t.String() }

// An Item is a data file that the agent has taken over.
type Item struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Module string `json:"module,omitempty"`
	Size   int64  `json:"size"`
}

// Progress is one line of the answer to a check or a fetch. The last line has
// Done set.
type Progress struct {
	Module
	Done   bool   `json:"done"`
	Failed *Error `json:"failed,omitempty"`
}
