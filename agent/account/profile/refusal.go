package profile

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Refusal is an answer with a status other than 2xx.
type Refusal struct {
	Call    string // method and path
	Status  int
	Code    string // the cloud's own word, such as invalid_grant; "" if it has none
	Message string // what it says to a person; never a secret
	Wait    time.Duration
}

// Error tells the call, the status and what the cloud says.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("%s: %d", r.Call, r.Status)
	if name := http.StatusText(r.Status); name != "" {
		text += " " + name
	}
	if said := strings.Trim(r.Code+": "+r.Message, ": "); said != "" {
		text += ": " + said
	}
	return text
}

// HTTPStatus returns the status code.
func (r *Refusal) HTTPStatus() int { return r.Status }

// RetryAfter returns how long the cloud asks to be left alone; zero if it does
// not say.
func (r *Refusal) RetryAfter() time.Duration { return r.Wait }

// Refused reports whether the cloud has said no to what was sent, so that
// sending it again is in vain until somebody has changed something.
func (r *Refusal) Refused() bool {
	return r.Status >= 400 && r.Status < 500 && !slices.Contains([]int{http.StatusRequestTimeout, http.StatusConflict,
		http.StatusTooEarly, http.StatusTooManyRequests}, r.Status)
}

// Refusal reads an answer with a status other than 2xx. The body may be of any
// shape: OAuth's (RFC 6749, section 5.2), Yii's, {"error","message"} or none.
func (p Profile) Refusal(r Request, a Answer, now time.Time) *Refusal {
	e := &Refusal{Call: r.String(), Status: a.Status, Wait: p.Limits.Wait(a.Status, a.Header, now)}
	f, err := object(a.Body)
	if err != nil {
		if isHTML(a.Body) {
			e.Message = "an HTML page"
		} else {
			e.Message = Clean(string(a.Body[:min(len(a.Body), 4*maxMessage)]), r.Secret)
		}
		return e
	}
	var said []string
	for _, key := range []string{"error", "name", "error_description", "message"} {
		if text := Clean(f.text(key), r.Secret); text != "" && !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	var word string
	if json.Unmarshal(f["error"], &word) == nil && codeWord.MatchString(word) {
		e.Code = word
		said = slices.DeleteFunc(said, func(s string) bool { return s == word })
	}
	e.Message = Clean(strings.Join(said, ": "), r.Secret)
	return e
}

var (
	codeWord = regexp.MustCompile(`^[A-Za-z0-9_]{1,40}$`)
	jwt      = regexp.MustCompile(`eyJ[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){0,2}`)
	opaque   = regexp.MustCompile(`[A-Za-z0-9_~+=-]{40,}`)
)

const (
	maxMessage = 256
	redacted   = "[redacted]"
)

func hide(text string, secret []string) string {
	for _, s := range secret {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, redacted)
		}
	}
	return text
}

// Clean makes one harmless line out of foreign text: no control characters,
// none of the secrets, nothing that looks like a token.
func Clean(text string, secret []string) string {
	text = hide(text, secret)
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	text = hide(text, secret) // what was in two halves before
	text = opaque.ReplaceAllString(jwt.ReplaceAllString(text, redacted), redacted)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
