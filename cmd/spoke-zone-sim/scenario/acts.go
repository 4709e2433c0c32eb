package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
	"github.com/spoke-zone/spoke-zone-agent/agent/local"
)

// An act is something that is done.
type act func(ctx context.Context, s *stage) error

// acts are what can be done.
var acts = []form[act]{
	{"start agent|installer", "Start a program of the gateway.",
		func(w words) act { return order("start", w.one("agent|installer")) }},
	{"stop agent|installer|load", "End it in order, as an init system does; or end the load.",
		func(w words) act {
			if who := w.one("agent|installer|load"); who != "load" {
				return order("stop", who)
			}
			return func(_ context.Context, s *stage) error { s.sent.stop(); return nil }
		}},
	{"kill agent|installer", "End it with kill -9.",
		func(w words) act { return order("kill", w.one("agent|installer")) }},
	{"power cut", "Kill every program of the gateway at once, hooks and their children too; what is started then sees another boot. Needs root or user namespaces. (What the disk loses with the power is `make test-ota`'s, in a virtual machine.)",
		func(words) act { return func(_ context.Context, s *stage) error { return s.powerCut() } }},
	{"provision [SPAN]", "The factory, or a person, writes a new token into spoke-zone.conf, which lives for SPAN.",
		func(w words) act {
			return func(_ context.Context, s *stage) error { return s.provision(w.span("SPAN")) }
		}},
	{"adopt", "A person gives the agent a new token: `spoke-zone-agent adopt -`.",
		func(words) act {
			return func(ctx context.Context, s *stage) error {
				s.bring(0)
				return s.client.Adopt(ctx, local.DeviceAccount, s.token)
			}
		}},
	{"vendor adds|copies|restores [TEXT]", "Another program writes spoke-zone.conf: it adds the line TEXT, keeps a copy of the file, or puts that copy back.",
		func(w words) act {
			return func(_ context.Context, s *stage) error { return s.vendor(w.one("adds|copies|restores"), w.one("TEXT")) }
		}},
	{"fault FAULT...", "Switch faults of the cloud on and off: `server-error=20%`, `html-error=3:login`, `silent`, `latency=off`.",
		func(w words) act {
			return func(_ context.Context, s *stage) error {
				for _, text := range w["FAULT"] {
					name, sw, err := splitFault(text)
					if err == nil {
						err = s.cloud.Set(name, sw)
					}
					if err != nil {
						return err
					}
				}
				return nil
			}
		}},
	{"clock SPAN", "Set the cloud's clock so far ahead of the gateway's.",
		func(w words) act {
			return func(_ context.Context, s *stage) error { s.cloud.SetOffset(w.span("SPAN")); return nil }
		}},
	{"broker down|up|cut", "Kill the broker, start it again under the same address, or cut the connections that it has.",
		func(w words) act {
			return func(_ context.Context, s *stage) error {
				switch w.one("down|up|cut") {
				case "down":
					return s.relay.down()
				case "up":
					return s.relay.up()
				}
				s.cloud.Drop()
				return nil
			}
		}},
	{"publish COUNT TOPIC", "A local program publishes so many messages, one after the other.",
		func(w words) act {
			return func(ctx context.Context, s *stage) error {
				for range w.number("COUNT") {
					if err := s.sent.one(ctx, w.one("TOPIC")); err != nil {
						return err
					}
				}
				return nil
			}
		}},
	{"load RATE TOPIC", "It goes on publishing so many a second, until `stop load`.",
		func(w words) act {
			return func(_ context.Context, s *stage) error { return s.sent.load(w.number("RATE"), w.one("TOPIC")) }
		}},
	{"command NAME [TEXT]", "The cloud sends a command, with TEXT as its payload.",
		func(w words) act {
			return func(_ context.Context, s *stage) error {
				return s.cloud.Command(s.device.ID, w.one("NAME"), []byte(w.one("TEXT")))
			}
		}},
	{"drop TYPE FILE SIZE", "A local program drops a data file into the spool.",
		func(w words) act {
			return func(_ context.Context, s *stage) error {
				return s.drop(w.one("TYPE"), w.one("FILE"), w.size("SIZE"))
			}
		}},
	{"offer MODULE VERSION [SIZE] [ill] [unsigned]", "The cloud offers a release: signed, if there is an installer. One that is ill does not prove itself.",
		func(w words) act { return func(_ context.Context, s *stage) error { return s.offer(w) } }},
	{"withdraw MODULE VERSION", "It takes the release back.",
		func(w words) act {
			return func(_ context.Context, s *stage) error {
				if !s.cloud.Withdraw(s.releases[w.one("MODULE")+" "+w.one("VERSION")]) {
					return errors.New("it was not offered")
				}
				return nil
			}
		}},
	{"check MODULE", "A person has the agent ask for releases now. That the cloud does not answer is no fault of the scenario.",
		func(w words) act {
			return func(ctx context.Context, s *stage) error {
				_, err := s.client.Check(ctx, w.one("MODULE"))
				var answer *local.Error
				if errors.As(err, &answer) {
					return nil
				}
				return err
			}
		}},
	{"hold check|install|effect|verify|commit|rollback", "The hook stops when it is called with that verb; at `effect` when the new version is in place and its installation not over.",
		func(w words) act {
			return func(_ context.Context, s *stage) error {
				return write(s.path("hold."+w.one("check|install|effect|verify|commit|rollback")), "", 0o600)
			}
		}},
	{"go check|install|effect|verify|commit|rollback", "It goes on.",
		func(w words) act {
			return func(_ context.Context, s *stage) error {
				return os.Remove(s.path("hold." + w.one("check|install|effect|verify|commit|rollback")))
			}
		}},
	{"fill disk", "Other programs take all that is free of the file system of the state.",
		func(words) act {
			return func(_ context.Context, s *stage) error {
				if s.setup.disk == 0 {
					return errors.New("it has no size: write disk SIZE at the front")
				}
				return fill(s.path("state", "others"))
			}
		}},
	{"free disk", "They give it back.",
		func(words) act {
			return func(_ context.Context, s *stage) error { return os.Remove(s.path("state", "others")) }
		}},
	{"wait SPAN", "Let time pass. No expectation hangs on it.",
		func(w words) act {
			return func(ctx context.Context, _ *stage) error { return pause(ctx, w.span("SPAN")) }
		}},
	{"say TEXT...", "Tell the reader of the screen something.",
		func(words) act { return func(context.Context, *stage) error { return nil } }},
}

func order(verb, who string) act {
	return func(_ context.Context, s *stage) error { return s.order(verb, who) }
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (s *stage) vendor(verb, line string) error {
	switch verb {
	case "adds":
		if line == "" || strings.ContainsAny(line, "=") {
			return fmt.Errorf("%q: want a line that is no setting", line)
		}
		return s.vendorAdds("# " + line)
	case "copies":
		b, err := os.ReadFile(s.path("spoke-zone.conf"))
		s.copied = string(b)
		return err
	}
	if s.copied == "" {
		return errors.New("there is no copy")
	}
	return s.vendorWrites(s.copied)
}

// offer puts a release into the catalogue. One without a size is its version,
// which is what the hook installs.
func (s *stage) offer(w words) error {
	m, version := w.one("MODULE"), w.one("VERSION")
	text := version + "\n"
	if w.has("ill") {
		text += "ill\n"
	}
	content := cloudtest.Bytes([]byte(text))
	if w.has("SIZE") {
		content = cloudtest.Seeded(uint64(len(s.releases)), w.size("SIZE"))
	}
	id := s.cloud.Offer(m, version, content)
	s.releases[m+" "+version] = id
	if !s.setup.installer || w.has("unsigned") {
		return nil
	}
	line, err := s.sign(content, m, version)
	s.cloud.Edit(id, func(r *cloudtest.Release) { r.Notes = line })
	return err
}

// fill writes until there is no room.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		err = nil // a smaller one may fit
	}
	return nil
}
