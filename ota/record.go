package ota

import (
	"errors"
	"time"
)

// recordFormat is raised when an older build must not touch newer records.
const recordFormat = 1

// A record is where the update of a module stands, as it is on disk. Rules: the
// record that names a step is durable before the step begins; data before its
// name, its name before the record, the record before anything is deleted.
type record struct {
	Fmt    int       `json:"fmt"`
	Seq    uint32    `json:"seq"` // of the newest transaction
	State  Phase     `json:"state"`
	Since  time.Time `json:"since"`
	Txn    string    `json:"txn,omitempty"` // its directory below txn
	ID     string    `json:"ota,omitempty"`
	Module string    `json:"module"`
	From   Version   `json:"from,omitempty"`
	To     Version   `json:"to,omitempty"`
	Size   int64     `json:"size,omitempty"`
	SHA256 string    `json:"sha256,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Deny   *denial   `json:"deny,omitempty"`
}

// An intent is what a transaction is to do. It is written once.
type intent struct {
	Seq     uint32    `json:"seq"`
	File    File      `json:"file"`
	From    Version   `json:"from"`
	Policy  Policy    `json:"policy"`
	Created time.Time `json:"created"`
}

// An outcome is how a transaction ended.
type outcome struct {
	Seq      uint32    `json:"seq"`
	State    Phase     `json:"state"`
	ID       string    `json:"ota"`
	Module   string    `json:"module"`
	From     Version   `json:"from"`
	To       Version   `json:"to"`
	Reason   string    `json:"reason"`
	Finished time.Time `json:"finished"`
}

// keepDone is how many outcomes are kept.
const keepDone = 20

// errForeign means that a record is of a build that knows more than this one.
var errForeign = errors.New("left by a newer version of the agent")
