package ota

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"
)

const (
	maxDenied = 50
	denyTime  = 6 * time.Hour      // after a download without progress
	denyLimit = 7 * 24 * time.Hour // a later end is a wrong clock's
)

// A denial keeps a release that failed from being chosen again at once: for
// good, until the catalogue changes, until there is room, or until a time.
type denial struct {
	ID      string    `json:"ota"`
	Version Version   `json:"version"`
	Reason  string    `json:"reason"`
	Listing string    `json:"listing,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Need    int64     `json:"need,omitempty"` // bytes that must be free, or Until
	Forever bool      `json:"forever,omitempty"`
}

// holds reports whether d still keeps f away, with so many bytes free.
func (d denial) holds(f File, listing string, now time.Time, free int64) bool {
	switch {
	case d.ID != f.ID || d.Version != f.Version:
		return false
	case d.Forever:
		return true
	case d.Need > 0 && free >= d.Need:
		return false
	case d.Listing != "":
		return d.Listing == listing
	}
	return now.Before(d.Until) && d.Until.Sub(now) <= denyLimit
}

// fingerprint is the state of a listing, whatever its order.
func fingerprint(files []File) string {
	lines := make([]string, len(files))
	for i, f := range files {
		line, err := json.Marshal(f)
		if err != nil {
			line = []byte(f.ID) // a date that no JSON can hold
		}
		lines[i] = string(line)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

// deny adds d to the room's denials.
func (r *room) deny(d denial) error {
	list, err := r.denied()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(e denial) bool { return e.ID == d.ID && e.Version == d.Version })
	list = append(list, d)
	return r.writeJSON(list[max(0, len(list)-maxDenied):], "deny.json")
}

// denied returns the room's denials. A file that cannot be read as such denies
// nothing: the worst that follows is one more try.
func (r *room) denied() ([]denial, error) {
	var list []denial
	err := r.readJSON(&list, "deny.json")
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &syntax) || errors.As(err, &kind) {
		return nil, nil
	}
	return list, err
}
