package cli

import (
	"io"
	"os"
	"strings"
)

// Colours of a terminal (ECMA-48, SGR).
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// stateColours are the colours of the words that a part's row begins with.
var stateColours = map[string]string{
	"valid": green, "online": green,
	"renewing": yellow, "connecting": yellow, "stale": yellow,
	"none": red, "refused": red, "expired": red, "offline": red, "failing": red,
}

// badLabels are the labels of rows that tell of something wrong.
var badLabels = map[string]bool{
	"problem": true, "error": true, "not stored": true, "refused": true, "settings": true, "identity": true, "missing": true,
}

// moves reports whether w is a terminal whose cursor can be moved.
func moves(w io.Writer) bool { return isTerminal(w) && os.Getenv("TERM") != "dumb" }

// coloured reports whether w is a terminal whose user wants colours
// (https://no-color.org).
func coloured(w io.Writer) bool { return moves(w) && os.Getenv("NO_COLOR") == "" }

// paint colours a screen. Its text is printable, so what is painted is ours.
func paint(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(paintLine(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

func paintLine(line string) string {
	left := min(indent, len(line))
	label, text := line[:left], line[left:]
	name := strings.TrimSpace(label)
	switch {
	case badLabels[name]:
		return label + red + text + plain
	case name != "" && (strings.HasPrefix(text, "failing") || strings.Contains(text, ": failing")):
		return label + red + text + plain
	case name != "" && !strings.HasPrefix(label, " ") && strings.HasSuffix(label, " "):
		label = bold + label + plain
	}
	word := text
	if end := strings.IndexAny(text, " ,"); end >= 0 {
		word = text[:end]
	}
	if colour := stateColours[word]; colour != "" && name != "" {
		text = colour + word + plain + text[len(word):]
	}
	return label + text
}
