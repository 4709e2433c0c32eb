package scenario

import (
	"net/http"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A happening is an event of the cloud that is awaited or counted.
type happening func(e cloudtest.Event) bool

func kindOf(kind string, more ...func(cloudtest.Event) bool) happening {
	return func(e cloudtest.Event) bool {
		if e.Cloud != "" || e.Kind != kind {
			return false
		}
		for _, is := range more {
			if !is(e) {
				return false
			}
		}
		return true
	}
}

// below is a topic without what the device's topics begin with.
func below(topic string) string {
	parts := strings.SplitN(topic, "/", 4) // mrs/d/ID/rest
	return parts[len(parts)-1]
}

// happenings are what may happen at the cloud.
var happenings = []form[happening]{
	{"connect accepted|refused", "The agent opens an MQTT session, and the broker takes its token or does not.",
		func(w words) happening {
			want := w.has("accepted|refused") && w.one("accepted|refused") == "accepted"
			return kindOf(cloudtest.EventConnect, func(e cloudtest.Event) bool { return (e.Status == 0) == want })
		}},
	{"disconnect", "An MQTT connection ends.",
		func(words) happening { return kindOf(cloudtest.EventDisconnect) }},
	{"login renewed|refused", "The agent asks for a new token, and gets one or does not.",
		func(w words) happening {
			if w.one("renewed|refused") == "renewed" {
				return kindOf(cloudtest.EventLogin, func(e cloudtest.Event) bool { return e.Status == http.StatusCreated })
			}
			return kindOf(cloudtest.EventLogin, func(e cloudtest.Event) bool { return e.Status >= 400 && e.Status < 500 })
		}},
	{"subscribe TOPIC", "The broker grants a subscription.",
		func(w words) happening {
			return kindOf(cloudtest.EventSubscribe, func(e cloudtest.Event) bool { return e.Why == "" && below(e.Topic) == w.one("TOPIC") })
		}},
	{"message TOPIC", "A message of the gateway arrives.",
		func(w words) happening {
			return kindOf(cloudtest.EventPublish, func(e cloudtest.Event) bool { return below(e.Topic) == w.one("TOPIC") })
		}},
	{"download", "Bytes of a release are fetched.",
		func(words) happening { return kindOf(cloudtest.EventDownload) }},
	{"upload", "A data file arrives whole.",
		func(words) happening { return kindOf(cloudtest.EventUpload) }},
	{"request NAME [STATUS]", "A request to the API, by the names that `serve --help` lists, with that status.",
		func(w words) happening {
			return kindOf(cloudtest.EventRequest, func(e cloudtest.Event) bool {
				return e.Op == w.one("NAME") && (!w.has("STATUS") || e.Status == w.number("STATUS"))
			})
		}},
	{"leak", "A token arrives at a host that it is not for. Every scenario fails if this happens.",
		func(words) happening { return kindOf(cloudtest.EventLeak) }},
}
