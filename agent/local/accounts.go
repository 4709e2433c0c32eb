package local

import "time"

// Account tells how the token of one cloud is, never the token.
type Account struct {
	Account         string    `json:"account"`
	Profile         string    `json:"profile"`
	Kind            string    `json:"kind"`           // exchange-expired, relogin, rotate or extend-in-place
	State           string    `json:"state"`          // as in Token
	Since           time.Time `json:"since,omitzero"` // when State began, as far as this process knows
	Reason          string    `json:"reason,omitempty"`
	Tail            string    `json:"tail,omitempty"` // the token's last 6 characters
	Expires         time.Time `json:"expires,omitzero"`
	RenewAt         time.Time `json:"renew_at,omitzero"`
	PointOfNoReturn time.Time `json:"point_of_no_return,omitzero"` // absent where the account's secrets buy a new token at any time
	LastRenewal     time.Time `json:"last_renewal,omitzero"`
	Renewals        int       `json:"renewals"`
	Logins          int       `json:"logins"` // renewals among them that took the account's secrets
	Attempt         int       `json:"attempt,omitempty"`
	NextTry         time.Time `json:"next_try,omitzero"`
	LastError       string    `json:"last_error,omitempty"`
	Missing         string    `json:"missing,omitempty"`      // words of the scope that was asked for and not given
	NeedsLogin      bool      `json:"needs_login,omitempty"`  // spoke-zone-agent login is the only way to the next token
	LimitedUntil    time.Time `json:"limited_until,omitzero"` // the cloud's rate limit lets no request pass before
	Stored          bool      `json:"stored"`                 // the state directory holds the newest token
	Keeps           []string  `json:"keeps,omitempty"`        // the secrets that must stay on the device

	Deliveries []Delivery `json:"deliveries,omitempty"`
}

// Delivery tells how one delivery of an account's token is.
type Delivery struct {
	ID      string    `json:"id"`
	File    string    `json:"file,omitempty"`
	State   string    `json:"state"` // waiting, delivered, telling or failing
	Since   time.Time `json:"since,omitzero"`
	Written time.Time `json:"written,omitzero"` // when the file was replaced last, since the start
	Told    time.Time `json:"told,omitzero"`    // when its reader was told last, since the start
	Error   string    `json:"error,omitempty"`
	Attempt int       `json:"attempt,omitempty"` // failures in a row
	NextTry time.Time `json:"next_try,omitzero"`
}

func (d Delivery) tidy() Delivery {
	for _, t := range []*time.Time{&d.Since, &d.Written, &d.Told, &d.NextTry} {
		*t = wireTime(*t)
	}
	return d
}

func (a Account) tidy() Account {
	for _, t := range []*time.Time{&a.Since, &a.Expires, &a.RenewAt, &a.PointOfNoReturn, &a.LastRenewal, &a.NextTry, &a.LimitedUntil} {
		*t = wireTime(*t)
	}
	deliveries := make([]Delivery, 0, len(a.Deliveries)) // not the caller's
	for _, d := range a.Deliveries {
		deliveries = append(deliveries, d.tidy())
	}
	a.Deliveries = deliveries
	return a
}
