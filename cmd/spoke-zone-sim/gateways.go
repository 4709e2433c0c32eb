package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// These bound what the admin API makes: how many devices, and each.
const (
	maxDevices = 10000
	maxTexts   = 8 << 10 // bytes of what one is called, in all
)

// A GatewayRequest asks for the files of a gateway, as provision writes them.
type GatewayRequest struct {
	Device  int      `json:"device"` // 0 for a new one
	Modules []string `json:"modules"`
	Version string   `json:"version"`
	Policy  string   `json:"policy"`
	Style   string   `json:"style"`
	Dir     string   `json:"dir"`  // where the files will be; in Gateways if empty
	Name    string   `json:"name"` // writes the files, in Gateways/NAME
}

// A GatewayAnswer has the files, or says where they were written.
type GatewayAnswer struct {
	Device  int               `json:"device"`
	Dir     string            `json:"dir"`
	Written bool              `json:"written"`
	Names   []string          `json:"names"`
	Files   map[string]string `json:"files,omitempty"`
}

var (
	gatewayName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	gatewayDir  = regexp.MustCompile(`^(/[A-Za-z0-9._+@-]+)+$`)
)

// policies are what a gateway may do about updates.
var policies = []string{"notify", "fetch", "install"}

// check faults what can be faulted before there is a device.
func (q GatewayRequest) check() error {
	switch {
	case q.Name != "" && !gatewayName.MatchString(q.Name):
		return fmt.Errorf("name %q: want lower case letters, digits and hyphens", q.Name)
	case q.Dir != "" && !gatewayDir.MatchString(q.Dir):
		return fmt.Errorf("directory %q: want an absolute path of plain characters", q.Dir)
	case q.Policy != "" && !slices.Contains(policies, q.Policy):
		return fmt.Errorf("policy %q: want one of %q", q.Policy, policies)
	}
	return (&gateway{style: q.Style, modules: q.Modules, version: q.Version}).complete(cloudtest.Device{})
}

// gateway makes the files of a gateway, and its device if need be.
func (a *admin) gateway(_ http.ResponseWriter, r *http.Request) (any, error) {
	var q GatewayRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	answer := GatewayAnswer{Dir: q.Dir, Written: q.Name != ""}
	if answer.Written {
		answer.Dir = filepath.Join(a.gateways, q.Name)
		if _, err := os.Lstat(answer.Dir); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is there already: want another name", answer.Dir)
		}
	}
	device, err := a.deviceOf(q)
	if err != nil {
		return nil, err
	}
	answer.Device = device.ID
	if answer.Dir == "" {
		answer.Dir = filepath.Join(a.gateways, "gateway-"+strconv.Itoa(device.ID))
	}
	g := gateway{style: q.Style, modules: q.Modules, version: q.Version, policy: q.Policy}
	if err := g.complete(device); err != nil {
		return nil, err
	}
	files, err := g.files(answer.Dir, a.now(), a.credentials(device, 0))
	if err != nil {
		return nil, err
	}
	answer.Names = slices.Sorted(maps.Keys(files))
	if !answer.Written {
		answer.Files = files
		return answer, nil
	}
	if err := os.MkdirAll(a.gateways, 0o700); err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	if err := os.Mkdir(answer.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	return answer, writeFiles(answer.Dir, files)
}

// deviceOf returns the device that q names, or a new one.
func (a *admin) deviceOf(q GatewayRequest) (cloudtest.Device, error) {
	if q.Device == 0 {
		return a.add(cloudtest.Device{Modules: q.Modules})
	}
	devices := a.cloud.Devices()
	i := slices.IndexFunc(devices, func(d cloudtest.Device) bool { return d.ID == q.Device })
	if i < 0 {
		return cloudtest.Device{}, fmt.Errorf("there is no device %d", q.Device)
	}
	return devices[i], nil
}

// add makes a device, or another of the same id, within bounds.
func (a *admin) add(d cloudtest.Device) (cloudtest.Device, error) {
	if n := max(len(d.Modules), len(d.Further)); n > maxModules {
		return d, fmt.Errorf("%d modules or topics: want %d at most", n, maxModules)
	}
	size := 0
	for _, text := range slices.Concat([]string{d.CPUID, d.UUID, d.Identifier, d.Base}, d.Further, d.Modules) {
		size += len(text)
	}
	if size > maxTexts {
		return d, fmt.Errorf("a device of %d bytes: want %d at most", size, maxTexts)
	}
	a.adding.Lock()
	defer a.adding.Unlock()
	devices := a.cloud.Devices()
	known := slices.ContainsFunc(devices, func(other cloudtest.Device) bool { return other.ID == d.ID })
	if len(devices) >= maxDevices && !known {
		return d, fmt.Errorf("there are %d devices already", len(devices))
	}
	return a.cloud.AddDevice(d), nil
}
