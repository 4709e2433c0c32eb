package agent

import (
	"log/slog"

	"github.com/spoke-zone/spoke-zone-agent/agent/account"
	"github.com/spoke-zone/spoke-zone-agent/agent/command"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/mqtt"
)

func newCommands(log *slog.Logger) *command.Commands {
	return &command.Commands{Log: log.With("task", "command")}
}

// followCommands tells the commands, which outlive a generation so that a
// program that runs does, what there is to run from now on: the settings' and
// the agent's own.
func (g *generation) followCommands() {
	s := command.Settings{
		Dir: g.conf.Paths.Commands,
		Builtin: map[string]func(command.Message) error{
			"diagnostics": func(m command.Message) error {
				return g.diagnostics.Take(m.Base, command.Decode(m.Payload), m.Retained)
			},
			"install-update": g.approveUpdate,
		},
	}
	for _, k := range g.conf.Commands {
		s.Known = append(s.Known, command.Command{Name: k.Name, Run: k.Run, Timeout: k.Timeout, Retained: k.Retained == "run"})
	}
	g.commands.Follow(s)
}

// receive takes a message from the broker.
func (g *generation) receive(m mqtt.Message) {
	s, _ := g.keeper.Status()
	g.server.Deliver(m.Topic, m.Payload, local.Message{Topic: local.Short(g.topicBase(s.Token), m.Topic), QoS: m.QoS, Retained: m.Retain})
	name, base, ok := command.Name(m.Topic, g.bases(s.Token)...)
	if !ok {
		g.commands.Unknown(m.Topic, len(m.Payload))
		return
	}
	g.commands.Take(command.Message{Name: name, Base: base, Payload: m.Payload, Retained: m.Retain})
}

// bases are the roots under which the cloud may speak to the device: its topic
// base, and the one that the cloud's page on diagnostics prints.
func (g *generation) bases(tok account.Token) []string {
	bases := []string{g.topicBase(tok)}
	if id, _ := g.deviceID(tok); id != "" && bases[0] != "mon/d/"+id {
		bases = append(bases, "mon/d/"+id)
	}
	return bases
}
