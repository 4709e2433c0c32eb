package ota

import (
	"cmp"
	"fmt"
	"strings"
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
	Percent   int       `json:"percent,omitempty"`  // of what the hook does
	Step      string    `json:"step,omitempty"`     // of it, in the hook's words
	Waits     string    `json:"waits,omitempty"`    // why what is ready is not installed yet
	Means     string    `json:"means,omitempty"`    // what installing it means, by the hook's word
	Approved  string    `json:"approved,omitempty"` // a person's word: approved, or now
	Cause     string    `json:"cause,omitempty"`    // why the update goes back, or ended

	Denied  string   `json:"denied,omitempty"`  // why the newest release is passed over
	Refused []string `json:"refused,omitempty"` // releases with unsafe names
	Outcome string   `json:"outcome,omitempty"` // of the transaction before
	Fault   string   `json:"fault,omitempty"`   // why nothing is fetched at all
	Reason  string   `json:"reason"`            // the state in a sentence
}

// reason tells a person why the module is where it is.
func (s ModuleStatus) reason() string {
	switch {
	case s.Fault != "":
		return "updates are off: " + s.Fault
	case s.Phase == Ready:
		return fmt.Sprintf("%s is fetched and its digest recorded; %s%s", s.Held.Version, cmp.Or(s.Waits, "it is about to be installed"), s.Means)
	case s.Phase == Installing:
		return fmt.Sprintf("the hook installs %s%s", s.Held.Version, s.progress())
	case s.Phase == Rebooting:
		return fmt.Sprintf("%s is installed and the device reboots into it", s.Held.Version)
	case s.Phase == Verifying:
		return fmt.Sprintf("%s runs on probation, until its hook, the token and the MQTT session have been well for a while%s", s.Held.Version, saying(s.LastError))
	case s.Phase == Committing:
		return fmt.Sprintf("%s is being made permanent", s.Held.Version)
	case s.Phase == RollingBack || s.Phase == RollbackReboot:
		return fmt.Sprintf("going back from %s%s%s", s.Held.Version, saying(s.Cause), s.progress())
	case s.Phase == Broken:
		return fmt.Sprintf("a person must act: going back from %s has failed%s", s.Held.Version, saying(s.Cause))
	case s.Phase == Committed && s.Held != nil:
		return fmt.Sprintf("%s is installed for good; what the update needed is cleared away", s.Held.Version)
	case s.Phase == Failed && s.Held != nil:
		return fmt.Sprintf("the update to %s is given up%s; what it needed is cleared away", s.Held.Version, saying(s.Cause))
	case s.Phase == Withdrawn && s.Held != nil:
		return fmt.Sprintf("%s is not offered any more; what was fetched of it is cleared away", s.Held.Version)
	case s.Phase == Verified && s.Held != nil:
		return fmt.Sprintf("%s is fetched whole, and is made ready", s.Held.Version)
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

// progress is what the hook tells of itself.
func (s ModuleStatus) progress() string {
	if s.Percent == 0 && s.Step == "" {
		return ""
	}
	return strings.TrimRight(fmt.Sprintf(" (%d %% %s", s.Percent, s.Step), " ") + ")"
}
