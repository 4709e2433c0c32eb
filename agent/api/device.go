package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// maxDevice bounds the answer about one device, in bytes.
const maxDevice = 256 << 10

// A Device is what the cloud knows of one. What it does not know is zero or
// nil.
type Device struct {
	ID           string
	Identifier   string // for people, unique
	SerialNumber string
	ModelID      string
	Model        string // the model's name
	LastOnline   time.Time
	Latitude     *float64 // in degrees
	Longitude    *float64
	// Versions are the last ones that the device reported, by module key.
	Versions map[string]string
}

// Device returns what the cloud knows of device id. With a device token that
// is the device itself.
func (c *Client) Device(ctx context.Context, id string) (Device, error) {
	k := &call{method: http.MethodGet, path: []string{"api/v2/devices", url.PathEscape(id)}, policy: sameHost}
	if err := checkID(id); err != nil {
		return Device{}, idError("device", err)
	}
	_, body, err := c.json(ctx, k, nil, maxDevice)
	if err != nil {
		return Device{}, err
	}
	d, err := decodeDevice(body)
	if err != nil {
		return Device{}, c.malformed(k, err)
	}
	return d, nil
}

func decodeDevice(body []byte) (Device, error) {
	f, err := decodeObject(body)
	if err != nil {
		return Device{}, err
	}
	d := Device{
		Identifier: f.text("identifier"), SerialNumber: f.text("serialNumber"), Model: f.text("name"),
		LastOnline: f.time("lastOnline"), Latitude: f.number("lastLatitude"), Longitude: f.number("lastLongitude"),
		Versions: map[string]string{},
	}
	d.ID, _ = f.id("id")
	d.ModelID, _ = f.id("modelId")
	var versions map[string]any
	_ = json.Unmarshal(f["softwareVersions"], &versions)
	for module, v := range versions {
		if version, ok := v.(string); ok {
			d.Versions[module] = version
		}
	}
	return d, nil
}
