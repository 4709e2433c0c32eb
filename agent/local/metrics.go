package local

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// metrics answers with Metrics of the status.
func (c *calls) metrics(w http.ResponseWriter, _ *http.Request, _ peer) error {
	if c.Status == nil {
		return Errorf(NotFound, "there is no status")
	}
	s := c.Status()
	s.tidy()
	c.begin(w, "text/plain; version=0.0.4; charset=utf-8")
	return c.write(w, scrub(Metrics(s, time.Now())))
}

// tokenStates and mqttStates are the values of the label state.
var (
	tokenStates = []string{"none", "valid", "renewing", "stale", "expired", "refused"}
	mqttStates  = []string{"offline", "connecting", "online", "refused"}
)

// Metrics is s in Prometheus' text format, as of now by the system's clock.
// Spans to come are seconds by the cloud's clock, below zero once they are
// over; what is unknown is left out. docs/metrics.md explains each name.
func Metrics(s Status, now time.Time) []byte {
	m := &metricsText{}
	m.gauge("info", "Version of the agent and number of the device; always 1.", 1, "version", s.Version, "device", s.Identity.DeviceID)
	if !s.Started.IsZero() {
		m.gauge("start_time_seconds", "When the agent started, as Unix time by the system's clock.", float64(s.Started.Unix()))
	}
	cloud := now.Add(seconds(s.Clock.ServerOffset))
	m.states("token_state", "1 for the state that the token is in.", s.Token.State, tokenStates)
	m.until("token_expires_seconds", "Until the token expires.", s.Token.Expires, cloud)
	m.until("token_point_of_no_return_seconds", "Until the cloud renews the token no more and a person must re-provision the device.", s.Token.PointOfNoReturn, cloud)
	m.gauge("token_window_spent_ratio", "Of the time in which the cloud renews the token, the share that is over.", s.Token.Spent)
	m.counter("token_renewals_total", "Renewals since the start.", float64(s.Token.Renewals))
	m.counter("token_attempts_total", "Attempts to renew since the start.", float64(s.Token.Attempts))
	m.gauge("token_failures", "Attempts to renew that failed in a row.", float64(s.Token.Attempt))
	m.gauge("token_stored", "1 where the newest token is stored.", truth(s.Token.Stored.State), "place", "state")
	m.gauge("token_stored", "", truth(s.Token.Stored.IdentityFile), "place", "identity_file")
	m.gauge("mqtt_connected", "1 while the session with the broker is up.", truth(s.MQTT.State == "online"))
	m.states("mqtt_state", "1 for the state that the session is in.", s.MQTT.State, mqttStates)
	m.counter("mqtt_connects_total", "Connections that the broker accepted since the start.", float64(s.MQTT.Connects))
	m.counter("mqtt_refusals_total", "Connections that the broker refused since the start.", float64(s.MQTT.Refusals))
	m.counter("mqtt_takeovers_total", "Connections that gave way to the next without a break since the start.", float64(s.MQTT.Takeovers))
	m.gauge("mqtt_gap_seconds", "For how long nothing could be sent at the last change of connections.", s.MQTT.Gap)
	m.gauge("mqtt_token_held", "1 while the connection has a token before the newest, with which none could take over.", truth(s.MQTT.Held != ""))
	m.gauge("mqtt_refused_filters", "Subscriptions that the broker refuses: commands under them are not heard.", float64(len(s.MQTT.RefusedFilters)))
	m.accounts(s.Accounts, cloud)
	m.outbox(s.Outbox, now)
	m.telemetry(s)
	m.modules(s.OTA)
	m.gauge("upload_queued_files", "Data files that wait for upload.", float64(s.Upload.Queued))
	m.gauge("upload_queued_bytes", "Their size.", float64(s.Upload.QueuedBytes))
	m.gauge("upload_failed", "1 while the last attempt to upload has failed.", truth(s.Upload.Error != ""))
	m.counter("upload_sent_total", "Data files uploaded since the start.", float64(s.Upload.Sent))
	m.counter("upload_quarantined_total", "Data files set aside since the start.", float64(s.Upload.Quarantined))
	m.counter("upload_dropped_total", "Data files dropped for want of room or as too old since the start.", float64(s.Upload.Dropped))
	m.uploads(s.Upload)
	m.collected(s.Upload.Collect)
	m.gauge("clock_offset_seconds", "How far the cloud's clock is ahead of the system's.", s.Clock.ServerOffset)
	m.gauge("clock_learned", "1 once the cloud's clock has been heard since the boot.", truth(s.Clock.Source == "server"))
	m.gauge("settings_generation", "Counts up with each change of the settings in force.", float64(s.Settings.Generation))
	m.gauge("settings_faulty", "1 while the newest settings have faults and those before are in force.", truth(s.Settings.Error != ""))
	m.gauge("problems", "Sentences under problems in the status.", float64(len(s.Problems)))
	return m.Bytes()
}

// uploads writes what there is to tell of each type of data file.
func (m *metricsText) uploads(u Upload) {
	m.gauge("upload_budget_spent", "1 while the bytes of this month keep data files waiting.", truth(u.Spent))
	for _, t := range u.Types {
		m.gauge("upload_type_queued_files", "Data files of a type that wait.", float64(t.Queued), "type", t.Type)
	}
	for _, t := range u.Types {
		m.gauge("upload_type_queued_bytes", "Their size.", float64(t.QueuedBytes), "type", t.Type)
	}
	for _, t := range u.Types {
		m.counter("upload_type_dropped_total", "Data files of a type dropped since the start.", float64(t.Dropped), "type", t.Type)
	}
}

// collected writes what there is to tell of the log files that are followed.
func (m *metricsText) collected(all []Collected) {
	for _, c := range all {
		m.gauge("collect_files", "Log files of a section of the settings that are followed.", float64(c.Files), "name", c.Name)
	}
	for _, c := range all {
		m.gauge("collect_bytes_behind", "Their bytes that are in no data file yet.", float64(c.BytesBehind), "name", c.Name)
	}
	for _, c := range all {
		m.gauge("collect_failed", "1 while some of them cannot be followed.", truth(c.Error != ""), "name", c.Name)
	}
	for _, c := range all {
		m.counter("collect_data_files_total", "Data files made of them since the start.", float64(c.DataFiles), "name", c.Name)
	}
	for _, c := range all {
		m.counter("collect_truncated_total", "Files found shortened since the start.", float64(c.Truncated), "name", c.Name)
	}
	for _, c := range all {
		m.counter("collect_lost_bytes_total", "Bytes gone before they were read since the start.", float64(c.BytesLost), "name", c.Name)
	}
}

// modules writes what there is to tell of each module, metric by metric as the
// format wants it.
func (m *metricsText) modules(all []Module) {
	for _, mod := range all {
		m.gauge("ota_phase", "1 for the phase that the module's update is in.", 1, "module", mod.Module, "phase", mod.Phase)
	}
	for _, mod := range all {
		m.gauge("ota_fetched_bytes", "Bytes of the update on disk.", float64(mod.Bytes), "module", mod.Module)
	}
	for _, mod := range all {
		m.gauge("ota_failed", "1 while the module's update has an error.", truth(mod.Error != ""), "module", mod.Module)
	}
	for _, mod := range all {
		m.gauge("ota_waits", "1 while what is fetched waits to be installed.", truth(mod.Waits != ""), "module", mod.Module)
	}
	for _, mod := range all {
		m.gauge("ota_denied", "1 while the newest release is passed over.", truth(mod.Denied != ""), "module", mod.Module)
	}
}

// metricsText is text in Prometheus' format, version 0.0.4. Samples of one name
// follow each other.
type metricsText struct {
	bytes.Buffer
	last string
}

func (m *metricsText) gauge(name, help string, v float64, labels ...string) {
	m.sample(name, "gauge", help, v, labels)
}

func (m *metricsText) counter(name, help string, v float64, labels ...string) {
	m.sample(name, "counter", help, v, labels)
}

func (m *metricsText) states(name, help, state string, all []string) {
	for _, s := range all {
		m.gauge(name, help, truth(s == state), "state", s)
	}
}

func (m *metricsText) until(name, help string, t, now time.Time, labels ...string) {
	if !t.IsZero() {
		m.gauge(name, help+" Below zero afterwards.", float64(t.Unix()-now.Unix()), labels...) // farther than a Duration reaches
	}
}

// age is how long ago t was, not below zero.
func (m *metricsText) age(name, help string, t, now time.Time) {
	if !t.IsZero() {
		m.gauge(name, help, float64(max(0, now.Unix()-t.Unix())))
	}
}

// sample writes one line. labels are names and values in turn; one without a
// value is left out.
func (m *metricsText) sample(name, typ, help string, v float64, labels []string) {
	name = "spoke_zone_agent_" + name
	if name != m.last {
		fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, typ)
		m.last = name
	}
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		if labels[i+1] != "" {
			pairs = append(pairs, labels[i]+`="`+labelText(labels[i+1])+`"`)
		}
	}
	m.WriteString(name)
	if len(pairs) > 0 {
		m.WriteString("{" + strings.Join(pairs, ",") + "}")
	}
	form := byte('f')
	if math.Abs(v) >= 1e15 {
		form = 'g'
	}
	m.WriteString(" " + strconv.FormatFloat(v, form, -1, 64) + "\n")
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labelText is s as a label's value: valid UTF-8 of bounded length.
func labelText(s string) string {
	if len(s) > 128 {
		s = s[:128]
	}
	return labelEscapes.Replace(strings.ToValidUTF8(s, "?"))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a number of seconds as a duration, within 250 years.
func seconds(s float64) time.Duration {
	const limit = 250 * 365 * 24 * 3600
	if math.IsNaN(s) {
		return 0
	}
	return time.Duration(max(-limit, min(s, limit)) * float64(time.Second))
}
