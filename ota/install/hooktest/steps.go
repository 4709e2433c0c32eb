package hooktest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/ota"
	"github.com/spoke-zone/spoke-zone-agent/ota/install"
)

// A step is one call of the hook.
type step struct {
	verb  ota.Verb
	what  string
	want  []ota.Code // one of them; nil: none of never
	never []ota.Code

	file   bool // only with a payload
	dry    bool // SPOKE_OTA_DRY_RUN=1
	half   bool // with half of the payload
	again  bool // as after a cut: the same attempt once more
	steady bool // only if the payload needs no reboot
	back   bool // only if the hook can roll back
}

var (
	done     = []ota.Code{ota.HookOK}
	finished = []ota.Code{ota.HookOK, ota.HookOKReboot}
	there    = []ota.Code{ota.HookActive, ota.HookStaged}
	not      = []ota.Code{ota.HookPrevious}
)

// steps is an update that is taken back, and then one that stays. Whatever may
// be cut off by the power is done twice.
var steps = []step{
	{verb: ota.HookInfo, what: "tells api=1 and what it can", want: done},
	{verb: ota.HookInfo, what: "says the same again", want: done, again: true},
	{verb: ota.HookCheck, what: "refuses half of the file", never: done, file: true, half: true},
	{verb: ota.HookCheck, what: "takes the file", want: done, file: true},
	{verb: ota.HookCheck, what: "and again", want: done, file: true, again: true},
	{verb: ota.HookProbe, what: "the previous version is installed", want: not, file: true},
	{verb: ota.HookInstall, what: "a dry run", want: finished, file: true, dry: true},
	{verb: ota.HookProbe, what: "has changed nothing", want: not, file: true},
	{verb: ota.HookInstall, what: "installs", want: finished, file: true},
	{verb: ota.HookProbe, what: "the new version is there", want: there, file: true},
	{verb: ota.HookInstall, what: "once more, as after a cut", want: finished, file: true, again: true},
	{verb: ota.HookProbe, what: "it still is", want: there, file: true},
	{verb: ota.HookVerify, what: "finds it healthy", want: done, file: true, steady: true},
	{verb: ota.HookRollback, what: "goes back", want: finished, file: true, back: true},
	{verb: ota.HookRollback, what: "once more, as after a cut", want: finished, file: true, again: true, back: true},
	{verb: ota.HookProbe, what: "the previous version is back", want: not, file: true, steady: true, back: true},
	{verb: ota.HookInstall, what: "installs again", want: finished, file: true, back: true},
	{verb: ota.HookProbe, what: "the new version is there", want: there, file: true, back: true},
	{verb: ota.HookVerify, what: "finds it healthy", want: done, file: true, steady: true, back: true},
	{verb: ota.HookCommit, what: "makes it permanent", want: done, file: true, steady: true},
	{verb: ota.HookCommit, what: "once more, as after a cut", want: done, file: true, again: true, steady: true},
	{verb: ota.HookProbe, what: "the new version is there", want: there, file: true, steady: true},
	{verb: ota.HookCleanup, what: "clears up", want: done},
	{verb: ota.HookCleanup, what: "once more, as after a cut", want: done, again: true},
	{verb: "unheard-of", what: "a verb of a later contract", never: []ota.Code{ota.HookOK, ota.HookOKReboot}},
}

// judge says what is wrong with how a call ended.
func (s step) judge(o install.Outcome) string {
	tail := ""
	if o.Text != "" {
		tail = ": " + o.Text
	}
	switch {
	case o.Cause != "":
		return o.Cause + tail
	case s.want == nil && slices.Contains(s.never, o.Code):
		return fmt.Sprintf("exits with %d", o.Code)
	case s.want != nil && !slices.Contains(s.want, o.Code):
		return fmt.Sprintf("exits with %d, want %s%s", o.Code, names(s.want), tail)
	}
	return ""
}

func names(codes []ota.Code) string {
	words := make([]string, len(codes))
	for i, c := range codes {
		words[i] = strconv.Itoa(int(c)) + " " + c.String()
	}
	return strings.Join(words, " or ")
}

// judgeInfo says what is wrong with what info tells.
func judgeInfo(said map[string]string) string {
	if said["api"] != "1" {
		return fmt.Sprintf("@set api=%s, want 1", said["api"])
	}
	for key, words := range map[string][]string{"reboot": {"always", "maybe", "never"}, "rollback": {"yes", "no"}} {
		if value, ok := said[key]; ok && !slices.Contains(words, value) {
			return fmt.Sprintf("@set %s=%s, want one of %s", key, value, strings.Join(words, ", "))
		}
	}
	for key, value := range said {
		verb, isTime := strings.CutPrefix(key, "timeout.")
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case isTime && !slices.Contains(install.Verbs, ota.Verb(verb)):
			return fmt.Sprintf("@set %s: there is no verb %s", key, verb)
		case isTime && (err != nil || n < 1 || n > 86400):
			return fmt.Sprintf("@set %s=%s, want seconds from 1 to 86400", key, value)
		case key == "extra_bytes" && (err != nil || n < 0):
			return fmt.Sprintf("@set %s=%s, want a number of bytes", key, value)
		}
	}
	return ""
}
