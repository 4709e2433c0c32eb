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

	// How often each step was tried. The attempt is counted before it begins.
	CK     int `json:"ck,omitempty"` // checks that failed oddly, in a row
	AI     int `json:"ai,omitempty"` // install
	AV     int `json:"av,omitempty"` // verify
	AC     int `json:"ac,omitempty"` // commit
	AR     int `json:"ar,omitempty"` // rollback
	BR     int `json:"br,omitempty"` // reboots
	Writes int `json:"writes,omitempty"`

	BootID   string            `json:"boot_id,omitempty"` // of the boot in which this was written
	Process  string            `json:"process,omitempty"` // and of the process
	Approved approval          `json:"approved,omitempty"`
	Set      map[string]string `json:"set,omitempty"` // what the hook kept
}

// An approval is a person's word that an update be installed.
type approval string

const (
	approved    approval = "approved" // when the window is open
	approvedNow approval = "now"      // whatever the window says
)

// An intent is what a transaction is to do. It is written once.
type intent struct {
	Seq     uint32    `json:"seq"`
	File    File      `json:"file"`
	From    Version   `json:"from"`
	Policy  Policy    `json:"policy"`
	Created time.Time `json:"created"`
	Due     promise   `json:"due"`
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
	Acked    bool      `json:"acked,omitempty"` // the cloud knows the version that followed
}

// keepDone is how many outcomes are kept.
const keepDone = 20

// errForeign means that a record is of a build that knows more than this one.
var errForeign = errors.New("left by a newer version of the agent")
