package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// maxRelease bounds an uploaded OTA file, maxStored all of them together.
const (
	maxRelease = 2 << 30
	maxStored  = 16 << 30
)

type admin struct {
	cloud  *cloudtest.Cloud
	others clouds
	ready  Ready
	files  string // directory of uploaded OTA files
	// gateways is the directory below which gateways are written.
	gateways string
	stored   atomic.Int64 // bytes of the uploaded OTA files
	streams  atomic.Int32 // of events that are open
	adding   sync.Mutex   // a device, of which there may be so many
}

// routes are the API by which people, tests and the console rule the simulator.
func (a *admin) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) (any, error){
		"GET /state":                a.state,
		"GET /faults":               a.faults,
		"POST /fault":               a.fault,
		"POST /devices":             a.addDevice,
		"POST /devices/{id}/token":  a.token,
		"POST /devices/{id}/reveal": a.reveal,
		"POST /gateways":            a.gateway,
		"POST /ota":                 a.offer,
		"POST /ota/{id}/withdraw":   a.activate(false),
		"POST /ota/{id}/activate":   a.activate(true),
		"POST /mqtt/drop":           a.drop,
		"POST /mqtt/publish":        a.publish,
		"POST /clock":               a.clock,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := h(w, r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(answer)
		})
	}
	mux.HandleFunc("GET /events", a.events)
	mux.HandleFunc("GET /data-files/{id}", a.dataFile)
	return mux
}

// guarded answers, unless anywhere is true, only to loopback names, and never
// to a page in a browser.
func (a *admin) guarded(anywhere bool) http.Handler {
	mux := a.routes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || !anywhere && !isLoopback(r.Host) {
			http.Error(w, "not for browsers", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, _ := netip.ParseAddr(host)
	return host == "localhost" || ip.IsLoopback()
}

func (a *admin) state(http.ResponseWriter, *http.Request) (any, error) { return a.now(), nil }

// now is everything that the simulator knows.
func (a *admin) now() State {
	life, window, grace := a.cloud.TokenTimes()
	s := State{
		Ready: a.ready, Now: a.cloud.Now(), Offset: a.cloud.Offset().String(),
		TokenLife: life.String(), Window: window.String(), Grace: grace.String(),
		Faults: a.cloud.Switches(), Counts: a.cloud.Counts(),
		CloudStates: a.others.states(),
		Devices:     []DeviceState{}, Releases: []ReleaseState{}, DataFiles: append([]cloudtest.DataFile{}, a.cloud.DataFiles()...),
	}
	for _, d := range a.cloud.Devices() {
		standing, _ := a.cloud.Standing(d.ID)
		s.Devices = append(s.Devices, DeviceState{d, standing.Online, standing.Versions, standing})
	}
	for _, r := range a.cloud.Releases() {
		s.Releases = append(s.Releases, ReleaseState{r, a.cloud.Served(r.ID), size(r.Content)})
	}
	return s
}

// size is how many bytes a content has, -1 if they cannot be had.
func size(content cloudtest.Content) int64 {
	r, err := content.Open()
	if err != nil {
		return -1
	}
	defer r.Close()
	n, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return -1
	}
	return n
}

func (a *admin) addDevice(_ http.ResponseWriter, r *http.Request) (any, error) {
	var d cloudtest.Device
	if err := read(r, &d); err != nil {
		return nil, err
	}
	d, err := a.add(d)
	if err != nil {
		return nil, err
	}
	return a.credentials(d, 0), nil
}

func (a *admin) token(_ http.ResponseWriter, r *http.Request) (any, error) {
	var request struct {
		Life string `json:"life"`
	}
	if err := read(r, &request); err != nil {
		return nil, err
	}
	life := time.Duration(0)
	if request.Life != "" {
		var err error
		if life, err = time.ParseDuration(request.Life); err != nil {
			return nil, fmt.Errorf("life: %w", err)
		}
	}
	d, err := a.device(r)
	if err != nil {
		return nil, err
	}
	return a.credentials(d, life), nil
}

// device is the one that the path of a request names.
func (a *admin) device(r *http.Request) (cloudtest.Device, error) {
	for _, d := range a.cloud.Devices() {
		if strconv.Itoa(d.ID) == r.PathValue("id") {
			return d, nil
		}
	}
	return cloudtest.Device{}, fmt.Errorf("there is no device %q", r.PathValue("id"))
}

// reveal shows a whole token to who asks for just that.
func (a *admin) reveal(_ http.ResponseWriter, r *http.Request) (any, error) {
	d, err := a.device(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"device": d.ID, "token": a.cloud.InUse(d.ID)}, nil
}

func (a *admin) credentials(d cloudtest.Device, life time.Duration) Credentials {
	c := Credentials{Device: d, Token: a.cloud.Issue(d.ID, life)}
	if strings.HasPrefix(a.ready.API, "https:") {
		c.CA = string(a.cloud.CA())
	}
	return c
}

// drop cuts every MQTT connection, or those of ?device=ID.
func (a *admin) drop(_ http.ResponseWriter, r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.URL.Query().Get("device"))
	switch {
	case r.URL.Query().Get("device") == "":
		a.cloud.Drop()
	case err != nil:
		return nil, fmt.Errorf("device: %w", err)
	default:
		a.cloud.Kick(id)
	}
	return map[string]any{"dropped": true}, nil
}

func (a *admin) publish(_ http.ResponseWriter, r *http.Request) (any, error) {
	var p Publish
	if err := read(r, &p); err != nil {
		return nil, err
	}
	if p.QoS > 1 {
		return nil, fmt.Errorf("qos %d: want 0 or 1", p.QoS)
	}
	if p.Topic == "" {
		for _, d := range a.cloud.Devices() {
			if p.Command != "" && (d.ID == p.Device || p.Device == 0) {
				p.Topic = d.Base + "/ctrl/" + p.Command
				break
			}
		}
	}
	if p.Topic == "" {
		return nil, errors.New("want a topic, or a command and a device that exists")
	}
	err := a.cloud.Publish(cloudtest.Message{Topic: p.Topic, Payload: []byte(p.Payload), QoS: p.QoS, Retain: p.Retain})
	return map[string]any{"topic": p.Topic}, err
}

func (a *admin) clock(_ http.ResponseWriter, r *http.Request) (any, error) {
	var request struct {
		Offset string `json:"offset"`
	}
	if err := read(r, &request); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(request.Offset)
	if err != nil {
		return nil, fmt.Errorf("offset: %w", err)
	}
	a.cloud.SetOffset(d)
	a.others.setOffset(d)
	return map[string]any{"offset": d.String(), "now": a.cloud.Now()}, nil
}

func (a *admin) dataFile(w http.ResponseWriter, r *http.Request) {
	for _, f := range a.cloud.Uploads() {
		if strconv.Itoa(f.ID) == r.PathValue("id") {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("X-Sha256", f.SHA256)
			w.Write(f.Content)
			return
		}
	}
	http.Error(w, "there is no data file with that id and content", http.StatusNotFound)
}

// read decodes a body of JSON with no field that is unknown. An empty body is
// an empty object.
func read(r *http.Request, v any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && err != io.EOF {
		return fmt.Errorf("read request: %w", err)
	}
	return nil
}
