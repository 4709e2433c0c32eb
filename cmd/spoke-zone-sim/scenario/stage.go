package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// A stage is the cloud, the gateway, and what was done to them.
type stage struct {
	setup   setup
	dir     string // of the gateway
	program string // the agent's
	cloud   *cloudtest.Cloud
	addrs   cloudtest.Addrs
	relay   *relay
	device  cloudtest.Device
	client  *local.Client
	key     release.SecretKey

	agent, installer process
	boots            int

	identity string // spoke-zone.conf with %s for the token
	token    string // that a person or the factory brought last
	before   int    // logins, before that
	copied   string // of spoke-zone.conf, for whoever restores it
	seq      int    // the event that the play has come to
	sent     sent   // messages
	dropped  []droppedFile
	releases map[string]int // ids, by module and version
}

func newStage(s *Scenario, dir, program string) (*stage, error) {
	broker, err := cloudtest.NewMochi()
	if err != nil {
		return nil, err
	}
	st := &stage{setup: s.setup, dir: dir, program: program, releases: map[string]int{}}
	st.cloud = cloudtest.New(cloudtest.Options{
		TokenLife: s.setup.life, Window: s.setup.window, Grace: s.setup.grace, Seed: s.setup.seed, Broker: broker,
	})
	if err := st.open(); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (s *stage) open() (err error) {
	if s.addrs, err = s.cloud.Listen(cloudtest.Listeners{TLS: true}); err != nil {
		return err
	}
	if s.relay, err = newRelay(s.addrs.MQTT); err != nil {
		return err
	}
	s.cloud.SetOffset(s.setup.clock)
	var keys []string
	for _, m := range s.setup.modules {
		keys = append(keys, m.key)
	}
	s.device = s.cloud.AddDevice(cloudtest.Device{ID: 4711, Modules: keys})
	s.client = &local.Client{Socket: s.path("run", "agent.sock")}
	s.sent = newSent(s.publish)
	if os.Getenv(inMachine) != "" {
		if err := s.boot(); err != nil {
			return err
		}
	}
	return s.furnish()
}

// close ends everything.
func (s *stage) close() {
	s.sent.stop()
	for _, p := range []*process{&s.agent, &s.installer} {
		p.kill()
	}
	if s.relay != nil {
		s.relay.close()
	}
	s.cloud.Close()
}

func (s *stage) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// publish hands one message to the agent.
func (s *stage) publish(ctx context.Context, topic, payload string) error {
	return s.client.Publish(ctx, local.Publication{Topic: topic, Payload: &payload})
}

// order is the verb of an act about one of the processes.
func (s *stage) order(verb, who string) error {
	p := map[string]*process{"agent": &s.agent, "installer": &s.installer}[who]
	switch {
	case verb == "kill":
		p.kill()
		return nil
	case verb == "stop":
		return p.stop()
	case who == "installer" && !s.setup.installer:
		return errors.New("the settings name no installer")
	case who == "installer":
		return p.start(s.path("installer.log"), s.program, "install-run", "--watch")
	}
	return p.start(s.path("agent.log"), s.program, "run", "--config", s.path("agent.conf"))
}

// powerCut ends everything on the gateway at once and starts nothing.
func (s *stage) powerCut() error {
	if err := cut(); err != nil {
		return err
	}
	for _, p := range []*process{&s.agent, &s.installer} {
		p.kill()
	}
	return s.boot()
}

// sound is what must be true of every scenario.
func (s *stage) sound() error {
	var wrong []error
	if n := s.cloud.Counts()[cloudtest.EventLeak]; n > 0 {
		wrong = append(wrong, fmt.Errorf("a token went to a host that it is not for, %d times", n))
	}
	tokens := []string{s.token}
	for _, l := range s.cloud.Logins() {
		tokens = append(tokens, l.Token, l.Given)
	}
	for _, name := range []string{"agent.log", "installer.log"} {
		log, err := os.ReadFile(s.path(name))
		if err != nil {
			continue // there is none
		}
		for _, token := range tokens {
			if token != "" && strings.Contains(string(log), token) {
				wrong = append(wrong, fmt.Errorf("%s holds a token", name))
				break
			}
		}
	}
	return errors.Join(wrong...)
}
