package cloudtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A gateway is a device's side of the wire, without any wit of its own.
type gateway struct {
	t     testing.TB
	cloud *Cloud
	Device
	token string
	http  *http.Client
	addrs Addrs
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
}

// newGateway returns a Cloud in memory with one device that has a new token.
func newGateway(t testing.TB, opt Options) *gateway {
	c := New(opt)
	t.Cleanup(c.Close)
	d := c.AddDevice(Device{})
	client := c.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(client.CloseIdleConnections)
	return &gateway{t: t, cloud: c, Device: d, token: c.Issue(d.ID, 0), http: client, addrs: c.Addrs(), dial: c.DialContext}
}

type answer struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error // of the transport, or of reading the body
}

// do sends a request with the device's token. Headers are name, value pairs.
func (g *gateway) do(method, path string, body io.Reader, headers ...string) answer {
	g.t.Helper()
	if !strings.Contains(path, "://") {
		path = g.addrs.API + path
	}
	r, err := http.NewRequest(method, path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("X-Access-Token", g.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := g.http.Do(r)
	if err != nil {
		return answer{Err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b, err}
}

func (g *gateway) get(path string, headers ...string) answer {
	g.t.Helper()
	return g.do("GET", path, nil, headers...)
}

func (g *gateway) post(path, body string) answer {
	g.t.Helper()
	return g.do("POST", path, strings.NewReader(body), "Content-Type", "application/json")
}

func (g *gateway) login() answer {
	g.t.Helper()
	body, err := json.Marshal(map[string]string{"token": g.token, "cpu_id": g.CPUID, "uuid": g.UUID})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.post("/loginDevice", string(body))
}

func (g *gateway) put(id, part string, content []byte) answer {
	g.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, err := w.CreateFormFile(part, "messages.log")
	if err != nil {
		g.t.Fatal(err)
	}
	f.Write(content)
	w.Close()
	return g.do("POST", "/api/v2/data-files/"+id+"/file", &b, "Content-Type", w.FormDataContentType())
}

// list is the documented listing of OTA files, decoded without any types.
func (g *gateway) list(query string) []map[string]any {
	g.t.Helper()
	a := g.get("/api/v2/ota-files" + query)
	var files []map[string]any
	if err := json.Unmarshal(a.Body, &files); err != nil || a.Status != 200 {
		g.t.Fatalf("list %s: got %d %s: %v", query, a.Status, a.Body, err)
	}
	return files
}

func (a answer) want(t testing.TB, status int, parts ...string) {
	t.Helper()
	if a.Err != nil || a.Status != status {
		t.Fatalf("got status %d, body %q, error %v; want status %d", a.Status, a.Body, a.Err, status)
	}
	for _, part := range parts {
		if !strings.Contains(string(a.Body), part) {
			t.Errorf("got body %q; want %q in it", a.Body, part)
		}
	}
}

func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(a.Body, &o); err != nil {
		t.Fatalf("got body %q; want a JSON object: %v", a.Body, err)
	}
	return o
}

// errorTypes are the types of a v2 error body, joined, with their fields.
func (a answer) errorTypes(t testing.TB) string {
	t.Helper()
	var body struct {
		Errors []struct {
			Type    string
			Message string
			Details struct{ Field string }
		}
	}
	if err := json.Unmarshal(a.Body, &body); err != nil {
		t.Fatalf("got body %q; want a v2 error body: %v", a.Body, err)
	}
	var types []string
	for _, e := range body.Errors {
		if e.Message == "" {
			t.Errorf("got %q; want a message in each error", a.Body)
		}
		types = append(types, strings.TrimSuffix(e.Type+" "+e.Details.Field, " "))
	}
	return strings.Join(types, ", ")
}

// connect opens an MQTT session. Messages arrive at the channel.
func (g *gateway) connect(change ...func(*mqtt.ClientOptions)) (mqtt.Client, <-chan mqtt.Message, error) {
	g.t.Helper()
	messages := make(chan mqtt.Message, 1000)
	o := mqtt.NewClientOptions().AddBroker("tcp://" + hostOf(g.addrs.MQTT))
	o.SetProtocolVersion(4).SetAutoReconnect(false).SetClientID("gateway").SetOrderMatters(false)
	o.SetUsername(g.token).SetPassword("gibberish").SetKeepAlive(20 * time.Second)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		return g.dial(context.Background(), "tcp", hostOf(g.addrs.MQTT))
	})
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { messages <- m })
	for _, f := range change {
		f(o)
	}
	client := mqtt.NewClient(o)
	token := client.Connect()
	token.Wait()
	if token.Error() == nil {
		g.t.Cleanup(func() { client.Disconnect(0) })
	}
	return client, messages, token.Error()
}

func hostOf(address string) string {
	_, host, _ := strings.Cut(address, "://")
	return host
}
