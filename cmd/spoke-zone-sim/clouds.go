package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/bace"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beacontower"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beamery"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

// What every simulated cloud knows of its one customer.
const (
	simUser     = "gateway@example.com"
	simPassword = "simulated-password"
	simClient   = "simulated-client"
	simSecret   = "simulated-secret"
	simKey      = "simulated.key"
	simRedirect = "http://127.0.0.1:8910/callback"
)

// A cloud is one beside Spoke Zone, by the name of its profile.
type cloud struct {
	name    string
	host    *host.Host
	close   func()
	account map[string]string // what a file of accounts.d says of it
	broker  *placeos.Server   // nil without MQTT
	address string            // of --NAME
	mqtt    string            // of --NAME-mqtt
}

// cloudNames are those of the clouds beside Spoke Zone.
var cloudNames = []string{"beacon-tower", "bace", "placeos", "beamery"}

// newClouds starts the clouds; life, by name, is of their tokens.
func newClouds(life map[string]time.Duration, seed uint64, broker cloudtest.Broker) []*cloud {
	tower := beacontower.New(beacontower.Options{TokenLife: life["beacon-tower"], Seed: seed})
	tower.AddAccount(beacontower.Account{Username: simUser, Password: simPassword, APIKey: simKey, Privileges: []string{"asset_management"}})
	b := bace.New(bace.Options{TokenLife: life["bace"], Seed: seed})
	b.AddAccount(bace.Account{Username: simUser, Password: simPassword, ClientID: simClient, ClientSecret: simSecret})
	place := placeos.New(placeos.Options{TokenLife: life["placeos"], Seed: seed, Broker: broker})
	place.AddUser(placeos.User{Email: simUser, Password: simPassword, Name: "Gateway"})
	place.AddApplication(placeos.Application{ID: simClient, Redirects: []string{simRedirect}, Scopes: []string{"public", "mqtt.read"}})
	id, secret, _ := strings.Cut(simKey, ".")
	place.AddKey(placeos.Key{ID: id, Secret: secret, User: simUser, Scopes: []string{"public"}})
	beam := beamery.New(beamery.Options{TokenLife: life["beamery"], Seed: seed})
	beam.AddClient(beamery.Client{ID: simClient, Secret: simSecret, Roles: []string{"user"}, Permissions: []string{"read:tasks"}})
	user := map[string]string{"username": simUser, "password": simPassword}
	client := map[string]string{"client_id": simClient, "client_secret": simSecret}
	return []*cloud{
		{name: "beacon-tower", host: tower.Host, close: tower.Close, account: user},
		{name: "bace", host: b.Host, close: b.Close, account: join(user, client)},
		{name: "placeos", host: place.Host, close: place.Close, broker: place,
			account: join(user, map[string]string{"client_id": simClient, "scope": "public mqtt.read", "redirect_uri": simRedirect})},
		{name: "beamery", host: beam.Host, close: beam.Close, account: client},
	}
}

func join(a, b map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// A cloudFlags is what the flags of serve ask of the other clouds.
type cloudFlags struct {
	address map[string]*string // by name, and by name-mqtt
	life    map[string]string
	faults  []string
}

func (c *cloudFlags) add(f *pflag.FlagSet) {
	c.address = map[string]*string{}
	for _, name := range append(slices.Clone(cloudNames), "placeos-mqtt") {
		c.address[name] = f.String(name, "", "listen as "+strings.ReplaceAll(name, "-mqtt", "'s broker")+" on `ADDRESS`")
	}
	f.StringToStringVar(&c.life, "life", nil, "life of the tokens of a cloud beside Spoke Zone: `CLOUD=DURATION`")
	f.StringArrayVar(&c.faults, "fault", nil, "switch a fault of a cloud beside Spoke Zone, `CLOUD.NAME=SWITCH`; fault --help lists them")
}

// open starts the clouds and lets them listen where the flags say. They tell
// spokeZone's log what happens.
func (c *cloudFlags) open(s *server, spokeZone *cloudtest.Cloud, settings *tls.Config) (all clouds, err error) {
	life := map[string]time.Duration{}
	for name, text := range c.life {
		if life[name], err = time.ParseDuration(text); err != nil || !slices.Contains(cloudNames, name) || life[name] <= 0 {
			return nil, fmt.Errorf("%w: --life %s=%s: want a duration of one of %s", errUsage, name, text, strings.Join(cloudNames, ", "))
		}
	}
	broker, err := cloudtest.NewMochi()
	if err != nil {
		return nil, err
	}
	all = newClouds(life, s.options.Seed, broker)
	defer func() {
		if err != nil {
			all.Close()
		}
	}()
	for _, arg := range c.faults {
		name, text, _ := strings.Cut(arg, "=")
		if err = all.set(name, text); err != nil {
			return nil, fmt.Errorf("%w: --fault: %w", errUsage, err)
		}
	}
	all.setOffset(s.offset)
	for _, cloud := range all {
		cloud.host.Observe(func(e host.Event) {
			spokeZone.Tell(cloudtest.Event{At: e.At, Cloud: cloud.name, Kind: e.Kind, Op: e.Op, Method: e.Method, Path: e.Path,
				Status: e.Status, Topic: e.Topic, Token: e.Token, Why: e.Why})
		})
		if err = cloud.listen(c, s.listeners.Host, settings); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (c *cloud) listen(flags *cloudFlags, name string, settings *tls.Config) (err error) {
	if c.address, err = c.host.Listen(*flags.address[c.name], name, settings); err != nil || c.broker == nil {
		return err
	}
	c.mqtt, err = c.broker.ListenMQTT(*flags.address[c.name+"-mqtt"], name, settings)
	return err
}

// clouds are those beside Spoke Zone.
type clouds []*cloud

// Close ends them all.
func (all clouds) Close() {
	for _, c := range all {
		c.close()
	}
}

func (all clouds) setOffset(d time.Duration) {
	for _, c := range all {
		c.host.SetOffset(d)
	}
}

// set switches the fault CLOUD.NAME; an empty text is always.
func (all clouds) set(name, text string) error {
	cloudName, fault, _ := strings.Cut(name, ".")
	i := slices.IndexFunc(all, func(c *cloud) bool { return c.name == cloudName })
	if i < 0 {
		return fmt.Errorf("fault %s: there is no cloud %q: want one of %s", name, cloudName, strings.Join(cloudNames, ", "))
	}
	if text == "" {
		text = "always"
	}
	s, err := host.ParseSwitch(text)
	if err != nil {
		return fmt.Errorf("fault %s: %w", name, err)
	}
	return all[i].host.Set(host.Fault(fault), s)
}

// addresses are where they listen.
func (all clouds) addresses() map[string]string {
	urls := map[string]string{}
	for _, c := range all {
		if urls[c.name] = c.address; c.broker != nil {
			urls[c.name+"-mqtt"] = c.mqtt
		}
	}
	return urls
}

// states are what GET /state says of them.
func (all clouds) states() map[string]CloudState {
	states := map[string]CloudState{}
	for _, c := range all {
		states[c.name] = CloudState{URL: c.address, MQTT: c.mqtt, Account: c.account, Faults: c.host.Switches(), Counts: c.host.Counts()}
	}
	return states
}

// fault takes an object of faults and their switches, of Spoke Zone or, with
// the cloud's name before a dot, of another cloud.
func (a *admin) fault(_ http.ResponseWriter, r *http.Request) (any, error) {
	var switches map[string]string
	if err := read(r, &switches); err != nil {
		return nil, err
	}
	for name, text := range switches {
		if strings.Contains(name, ".") {
			if err := a.others.set(name, text); err != nil {
				return nil, err
			}
			continue
		}
		s, err := cloudtest.ParseSwitch(text)
		if err != nil {
			return nil, fmt.Errorf("fault %s: %w", name, err)
		}
		if err := a.cloud.Set(cloudtest.Fault(name), s); err != nil {
			return nil, err
		}
	}
	return a.switches(), nil
}

// cloudFaults lists the faults of the clouds beside Spoke Zone for people.
func cloudFaults() string {
	all := clouds(newClouds(nil, 0, nil))
	defer all.Close()
	var b strings.Builder
	describe := func(prefix string, f host.FaultInfo) {
		fmt.Fprintf(&b, "  %-30s %s", prefix+string(f.Name), f.Doc)
		if f.Arg != "" {
			fmt.Fprintf(&b, " (@ %s, else %s)", f.Arg, f.Default)
		}
		b.WriteString("\n")
	}
	for _, f := range host.Common {
		describe("CLOUD.", f)
	}
	for _, c := range all {
		for _, f := range c.host.Faults()[len(host.Common):] {
			describe(c.name+".", f)
		}
		fmt.Fprintf(&b, "  operations of %s: %s\n", c.name, strings.Join(c.host.Operations(), ", "))
	}
	return b.String()
}
