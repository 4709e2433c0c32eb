package command

import (
	"regexp"
	"strings"
)

// maxName is the most bytes of a command's name.
const maxName = 128

// maxTopic is how much of a topic that is no command's goes into the log.
const maxTopic = 100

// nameForm is what a command may be called: no level is empty or begins with a
// dot, so that a name is also a path that leads nowhere else.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

// Name returns the name of the command that topic sends to the device, and the
// one of its topic bases under which it came. It reports false for topics that
// are no command of this device, and for names that none can have.
func Name(topic string, bases ...string) (name, base string, ok bool) {
	for _, base := range bases {
		rest, under := strings.CutPrefix(topic, base+"/ctrl/")
		if base != "" && under && len(rest) <= maxName && nameForm.MatchString(rest) {
			return rest, base, true
		}
	}
	return "", "", false
}
