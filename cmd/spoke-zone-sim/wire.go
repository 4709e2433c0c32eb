package main

import (
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// State is what GET /state answers.
type State struct {
	Ready
	Now         time.Time                  `json:"now"`
	Offset      string                     `json:"offset"`
	TokenLife   string                     `json:"token_life"`
	Window      string                     `json:"window"`
	Grace       string                     `json:"grace"`
	Faults      map[cloudtest.Fault]string `json:"faults"`
	Counts      map[string]int             `json:"counts"`
	CloudStates map[string]CloudState      `json:"cloud_states"` // beside Spoke Zone
	Devices     []DeviceState              `json:"devices"`
	Releases    []ReleaseState             `json:"releases"`
	DataFiles   []cloudtest.DataFile       `json:"data_files"`
}

// A CloudState is one of the clouds beside Spoke Zone.
type CloudState struct {
	URL     string                     `json:"url"`
	MQTT    string                     `json:"mqtt,omitempty"`
	Account map[string]string          `json:"account"` // of its one customer, as accounts.d has it
	Faults  map[cloudtest.Fault]string `json:"faults"`
	Counts  map[string]int             `json:"counts"`
}

// A DeviceState is a device with what it has said.
type DeviceState struct {
	cloudtest.Device
	Connections int               `json:"connections"`
	Versions    map[string]string `json:"versions"`
	// Standing is all that the cloud's page on it would show.
	Standing cloudtest.Standing `json:"standing"`
}

// A ReleaseState is an OTA file with the bytes of it that were sent in all.
type ReleaseState struct {
	cloudtest.Release
	Served int64 `json:"served"`
	Size   int64 `json:"size"`
}

// Credentials are what a factory knows of a device.
type Credentials struct {
	cloudtest.Device
	Token string `json:"token"`
	CA    string `json:"ca,omitempty"` // PEM, if the cloud speaks TLS
}

// An Offered is the answer to an OTA file.
type Offered struct {
	ID     int    `json:"id"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// A Publish is a message for a device: on Topic, or on the command's topic of
// a Device.
type Publish struct {
	Topic   string `json:"topic,omitempty"`
	Device  int    `json:"device,omitempty"`
	Command string `json:"command,omitempty"`
	Payload string `json:"payload"`
	QoS     byte   `json:"qos"`
	Retain  bool   `json:"retain"`
}
