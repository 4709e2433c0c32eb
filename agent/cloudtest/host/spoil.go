package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The faults that every simulated cloud has.
const (
	Unreachable     Fault = "unreachable"
	Latency         Fault = "latency"
	CaptivePortal   Fault = "captive-portal"
	TooManyRequests Fault = "too-many-requests"
	ServerError     Fault = "server-error"
	HTMLError       Fault = "html-error"
	LostAnswer      Fault = "lost-answer"
	TruncatedJSON   Fault = "truncated-json"
	WrongTypes      Fault = "wrong-types"
	NoDate          Fault = "no-date"
	WrongDate       Fault = "wrong-date"
)

// Common describes the faults that every simulated cloud has.
var Common = []FaultInfo{
	{Unreachable, "cut connections, HTTP and MQTT, instead of answering", "", "", nil},
	{Latency, "wait before answering", "duration", "1s", IsDuration},
	{CaptivePortal, "answer like the portal of a Wi-Fi network: a redirect, or its page with status 200", "redirect or page", "redirect", OneOf("redirect", "page")},
	{TooManyRequests, "answer 429; with Retry-After when a duration is given, with x-ratelimit-reset in seconds or as a Unix time for delta+DURATION and epoch+DURATION", "duration or none, or delta+duration, or epoch+duration", "none", isReset},
	{ServerError, "answer with a 5xx status and no useful body", "status", "503", IsStatus},
	{HTMLError, "answer with a status and a page of HTML", "status", "502", IsStatus},
	{LostAnswer, "do what was asked and cut the connection instead of answering", "", "", nil},
	{TruncatedJSON, "send half of a JSON answer", "", "", nil},
	{WrongTypes, "send JSON whose values have other types", "", "", nil},
	{NoDate, "leave the Date header out", "", "", nil},
	{WrongDate, "send a Date that is off, with tokens judged by the true time", "duration", "24h", IsDuration},
}

func isReset(s string) error {
	_, d, dialect := strings.Cut(s, "+")
	if dialect && (strings.HasPrefix(s, "delta+") || strings.HasPrefix(s, "epoch+")) {
		return IsDuration(d)
	}
	return IsDurationOrNone(s)
}

// A Spoiler makes the Common faults happen to requests.
type Spoiler struct {
	Rules  *Rules
	Now    func() time.Time
	Pause  func(ctx context.Context, d time.Duration) bool // false when it was cut short
	Note   func(op string, name Fault)                     // a fault has happened
	Portal func() string                                   // the URL that a captive portal redirects to
	Closed func(op string, until time.Time)                // told of each 429 that says when it ends; may be nil
}

// Serve answers a request: the faults first, else h.
func (s *Spoiler) Serve(w http.ResponseWriter, r *http.Request, op string, h http.HandlerFunc) {
	if s.Spoil(w, r, op) {
		return
	}
	if _, ok := s.Rules.Roll(LostAnswer, op); ok {
		h(&Nowhere{}, r)
		s.Abort(LostAnswer, op)
	}
	h(w, r)
}

// Abort cuts the connection of the request being served.
func (s *Spoiler) Abort(name Fault, op string) {
	s.Note(op, name)
	panic(http.ErrAbortHandler)
}

func (s *Spoiler) setDate(w http.ResponseWriter, op string) {
	now := s.Now()
	if arg, ok := s.Rules.Roll(WrongDate, op); ok {
		d, _ := time.ParseDuration(arg)
		now = now.Add(d)
	}
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if _, ok := s.Rules.Roll(NoDate, op); ok {
		w.Header()["Date"] = nil // net/http then leaves it out
	}
}

// Spoil sets the Date and, when a fault says so, answers instead of the cloud,
// which it reports.
func (s *Spoiler) Spoil(w http.ResponseWriter, r *http.Request, op string) bool {
	s.setDate(w, op)
	if _, ok := s.Rules.Roll(Unreachable, op); ok {
		s.Abort(Unreachable, op)
	}
	if arg, ok := s.Rules.Roll(Latency, op); ok {
		d, _ := time.ParseDuration(arg)
		if !s.Pause(r.Context(), d) {
			s.Abort(Latency, op)
		}
	}
	for _, name := range []Fault{CaptivePortal, TooManyRequests, ServerError, HTMLError} {
		if arg, ok := s.Rules.Roll(name, op); ok {
			s.Note(op, name)
			s.answer(w, r, op, name, arg)
			return true
		}
	}
	return false
}

func (s *Spoiler) answer(w http.ResponseWriter, r *http.Request, op string, name Fault, arg string) {
	status, _ := strconv.Atoi(arg)
	switch name {
	case CaptivePortal:
		if arg == "redirect" {
			http.Redirect(w, r, s.Portal(), http.StatusFound)
			return
		}
		Page(w, http.StatusOK, "Welcome! Accept our terms to go online.")
	case TooManyRequests:
		s.tooMany(w, op, arg)
	case ServerError:
		http.Error(w, "upstream connect error or disconnect/reset before headers", status)
	case HTMLError:
		Page(w, status, http.StatusText(status))
	}
}

// tooMany answers 429 in one of the ways to say until when.
func (s *Spoiler) tooMany(w http.ResponseWriter, op, arg string) {
	dialect, text, found := strings.Cut(arg, "+")
	if !found {
		dialect, text = "", arg
	}
	if d, err := time.ParseDuration(text); err == nil {
		until := s.Now().Add(d)
		switch seconds := strconv.Itoa(int(d.Seconds())); dialect {
		case "epoch":
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(until.Unix(), 10))
		case "delta":
			w.Header()["x-ratelimit-reset"] = []string{seconds}
		default:
			w.Header().Set("Retry-After", seconds)
		}
		if s.Closed != nil {
			s.Closed(op, until)
		}
	}
	w.WriteHeader(http.StatusTooManyRequests)
}

// Page answers with a page of HTML, as proxies do.
func Page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html>\r\n<head><title>%[1]s</title></head>\r\n<body><h1>%[1]s</h1><hr>nginx</body>\r\n</html>\r\n", text)
}

// Reply answers with JSON, spoilt as the faults say.
func (s *Spoiler) Reply(w http.ResponseWriter, op string, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("cloudtest: marshal answer: %v", err))
	}
	if _, ok := s.Rules.Roll(WrongTypes, op); ok {
		body = wrongTypes(body)
	}
	if _, ok := s.Rules.Roll(TruncatedJSON, op); ok {
		body = body[:len(body)/2]
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
