package ota

import (
	"fmt"
	"time"
)

// A Release is what people are told of a File.
type Release struct {
	ID       string    `json:"id"`
	Version  Version   `json:"version"`
	Notes    string    `json:"notes,omitempty"`
	Released time.Time `json:"released,omitzero"`
}

func (f File) release() *Release {
	return &Release{ID: f.ID, Version: f.Version, Notes: f.Notes, Released: f.Released}
}

// A ModuleStatus is how the update of one module stands.
type ModuleStatus struct {
	Module    string    `json:"module"`
	Policy    Policy    `json:"policy"`
	Phase     Phase     `json:"phase"`
	Since     time.Time `json:"since,omitzero"`
	Installed Version   `json:"installed,omitempty"` // empty if unknown
	Offered   *Release  `json:"offered,omitempty"`   // the release to move to, if any
	Held      *Release  `json:"held,omitempty"`      // what is being fetched or is at hand

	Bytes   int64     `json:"bytes,omitempty"`
	Total   int64     `json:"total,omitempty"` // 0 unknown
	Rate    float64   `json:"rate,omitempty"`  // bytes per second
	Attempt int       `json:"attempt,omitempty"`
	NextTry time.Time `json:"next_try,omitzero"` // of the download, while it waits
	SHA256  string    `json:"sha256,omitempty"`
	Payload string    `json:"payload,omitempty"` // path of a complete download

	LastCheck time.Time `json:"last_check,omitzero"` // that read the catalogue
	NextCheck time.Time `json:"next_check,omitzero"`
	LastError string    `json:"last_error,omitempty"`
	Denied    string    `json:"denied,omitempty"`  // why the newest release is passed over
	Refused   []string  `json:"refused,omitempty"` // releases with unsafe names
	Outcome   string    `json:"outcome,omitempty"` // of the transaction before
	Fault     string    `json:"fault,omitempty"`   // why nothing is fetched at all
	Reason    string    `json:"reason"`            // the state in a sentence
}

// reason tells a person why the module is where it is.
func (s ModuleStatus) reason() string {
	switch {
	case s.Fault != "":
		return "updates are off: " + s.Fault
	case s.Phase == Ready:
		why := "policy " + string(s.Policy) + " goes no further"
		if s.Policy == Install {
			why = "policy install acts as fetch, because installing is not available in this build"
		}
		return fmt.Sprintf("%s is fetched and its digest recorded, though the cloud publishes none to compare it with; %s", s.Held.Version, why)
	case s.Held != nil && !s.NextTry.IsZero():
		return fmt.Sprintf("fetching %s waits for another try: %s", s.Held.Version, s.LastError)
	case s.Held != nil:
		return fmt.Sprintf("fetching %s", s.Held.Version)
	case s.LastError != "":
		return s.LastError
	case s.LastCheck.IsZero():
		return "the catalogue has not been read yet"
	case s.Denied != "":
		return s.Denied
	case s.Offered != nil && s.Policy == Notify:
		return fmt.Sprintf("%s is there; policy notify only reports it", s.Offered.Version)
	case s.Offered != nil:
		return fmt.Sprintf("%s is there and not being fetched", s.Offered.Version)
	case s.Installed == "":
		return "the catalogue has no active release"
	}
	return fmt.Sprintf("no active release is newer than %s", s.Installed)
}
