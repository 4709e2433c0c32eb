package main

import (
	"net/http"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// A CloudFaults is what can go wrong at one cloud.
type CloudFaults struct {
	Cloud      string     `json:"cloud"` // empty for Spoke Zone; else what stands before the dot
	Faults     []FaultDoc `json:"faults"`
	Operations []string   `json:"operations"`
}

// A FaultDoc describes a fault for people.
type FaultDoc struct {
	Name    cloudtest.Fault `json:"name"`
	Doc     string          `json:"doc"`
	Arg     string          `json:"arg,omitempty"`
	Default string          `json:"default,omitempty"`
}

func docs(table []host.FaultInfo) []FaultDoc {
	all := make([]FaultDoc, len(table))
	for i, f := range table {
		all[i] = FaultDoc{f.Name, f.Doc, f.Arg, f.Default}
	}
	return all
}

// faults lists every fault of every cloud that is served.
func (a *admin) faults(http.ResponseWriter, *http.Request) (any, error) {
	all := []CloudFaults{{"", docs(cloudtest.Faults), cloudtest.Operations}}
	for _, c := range a.others {
		all = append(all, CloudFaults{c.name, docs(c.host.Faults()), c.host.Operations()})
	}
	return all, nil
}

// switches are the faults that are not off, of all clouds.
func (a *admin) switches() map[string]string {
	on := map[string]string{}
	for name, text := range a.cloud.Switches() {
		on[string(name)] = text
	}
	for _, c := range a.others {
		for name, text := range c.host.Switches() {
			on[c.name+"."+string(name)] = text
		}
	}
	return on
}
