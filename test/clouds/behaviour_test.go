package clouds

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/bace"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beacontower"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/beamery"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/placeos"
)

var errRefused = errors.New("401 Unauthorized")

// A behaviour is one that a client should show; check says what is wrong.
type behaviour struct {
	cloud, what string
	check       func(s *server, c client) error
}

// A server is a simulated cloud.
type server struct {
	*host.Host
	valid       func(token string) bool
	revoke      func(token string)
	refreshable func() int
	close       func()
}

const day = 24 * time.Hour

// newServer starts a cloud with its one customer.
func newServer(cloud string) *server {
	switch cloud {
	case "beacon-tower":
		s := beacontower.New(beacontower.Options{})
		s.AddAccount(beacontower.Account{Username: user, Password: password, Privileges: []string{"asset_management"}})
		return &server{Host: s.Host, valid: s.Valid, revoke: s.Revoke, close: s.Close}
	case "bace":
		s := bace.New(bace.Options{})
		s.AddAccount(bace.Account{Username: user, Password: password, ClientID: clientID, ClientSecret: secret})
		return &server{Host: s.Host, valid: s.Valid, revoke: s.Revoke, close: s.Close}
	case "placeos":
		s := placeos.New(placeos.Options{})
		s.AddUser(placeos.User{Email: user, Password: password})
		s.AddApplication(placeos.Application{ID: clientID})
		return &server{Host: s.Host, valid: s.Valid, revoke: s.Revoke, refreshable: s.Refreshable, close: s.Close}
	}
	s := beamery.New(beamery.Options{})
	s.AddClient(beamery.Client{ID: clientID, Secret: secret, Permissions: []string{"read:tasks"}})
	return &server{Host: s.Host, valid: s.Valid, revoke: s.Revoke, close: s.Close}
}

var behaviours = []behaviour{
	{"beacon-tower", "logs in (`accessToken`, JSON)", login},
	{"beacon-tower", "has a valid token for three days, whose end stands in the JWT alone", valid(3*day, 10*time.Minute)},
	{"beacon-tower", "logs in anew after a 401", recovers},
	{"beacon-tower", "comes through an outage of 20 min at a token's end with a valid token", outage(time.Hour)},
	{"beacon-tower", "asks nothing inside a window that a 429 closed until a Unix time", closed("1@epoch+90s:login")},
	{"bace", "logs in (form data, `scope: null`)", login},
	{"bace", "has a valid token for 60 days, refreshed in place", valid(60*day, time.Hour)},
	{"bace", "creates one token in 60 days", created(60*day, time.Hour, 1)},
	{"bace", "creates no token for a 401 that means forbidden", forbidden},
	{"bace", "has a valid token where refreshes give 3 h and `expires` is Amsterdam's", zone},
	{"bace", "survives the lost answer to a refresh", lost("refresh", 20*day, time.Hour)},
	{"placeos", "logs in (password grant)", login},
	{"placeos", "has a valid token for three days", valid(3*day, 10*time.Minute)},
	{"placeos", "logs in once in three days, then refreshes", created(3*day, 10*time.Minute, 1)},
	{"placeos", "survives the lost answer to a refresh", lost("token", 6*time.Hour, 10*time.Minute)},
	{"placeos", "goes on after a restart where refresh tokens are used once", restart},
	{"placeos", "retires refresh tokens that it does not need (`/auth/authority`)", retires},
	{"placeos", "comes through an outage of 20 min at a token's end with a valid token", outage(2 * time.Hour)},
	{"beamery", "logs in (camelCase JSON)", login},
	{"beamery", "has a valid token for three days", valid(3*day, 10*time.Minute)},
	{"beamery", "asks nothing inside a window that a 429 closed for seconds", closed("1@delta+90s:login")},
	{"beamery", "heeds `remaining: 0` on a 200, with 8 programs asking at once", hammer},
}

// check asks for a token and whether the cloud would take it.
func check(s *server, c client) error {
	token, err := c.Token()
	if err == nil && !s.valid(token) {
		err = errors.New("the cloud refuses it")
	}
	return err
}

func login(s *server, c client) error { return check(s, c) }

// valid looks at the token every step for as long as d.
func valid(d, step time.Duration) func(*server, client) error {
	return func(s *server, c client) error {
		for passed := time.Duration(0); passed < d; passed += step {
			if err := check(s, c); err != nil {
				return fmt.Errorf("after %v: %w", passed, err)
			}
			time.Sleep(step)
		}
		return nil
	}
}

// created is valid with no more than so many tokens created.
func created(d, step time.Duration, most int) func(*server, client) error {
	return func(s *server, c client) error {
		if err := valid(d, step)(s, c); err != nil {
			return err
		}
		if n := s.Count(host.KindIssue); n > most {
			return fmt.Errorf("%d tokens were created", n)
		}
		return nil
	}
}

func recovers(s *server, c client) error {
	token, err := c.Token()
	if err != nil {
		return err
	}
	s.revoke(token)
	c.Refused(token)
	time.Sleep(5 * time.Minute)
	return check(s, c)
}

// forbidden has calls that the account may not make answered with 401.
func forbidden(s *server, c client) error {
	for range 12 {
		token, err := c.Token()
		if err != nil {
			return err
		}
		if status := c.Get("/api/v2/data/index"); status != 401 {
			return fmt.Errorf("a forbidden call got %d", status)
		}
		c.Refused(token)
		time.Sleep(5 * time.Minute)
	}
	return created(time.Hour, time.Hour, 1)(s, c)
}

func zone(s *server, c client) error {
	s.MustSet(bace.ShortRefresh, host.Always.With("3h"))
	s.MustSet(bace.Zone, host.Always.With("Europe/Amsterdam"))
	return valid(3*day, 10*time.Minute)(s, c)
}

// lost cuts the connection of each third renewal once it is done.
func lost(op string, d, step time.Duration) func(*server, client) error {
	return func(s *server, c client) error {
		if err := check(s, c); err != nil {
			return err
		}
		s.MustSet(host.LostAnswer, host.Every(3).On(op))
		if err := valid(d, step)(s, c); err != nil {
			return err
		}
		if n := s.Count(host.KindIssue); n > 1 {
			return fmt.Errorf("%d tokens were created", n)
		}
		return nil
	}
}

// outage makes the cloud unreachable from 10 min before to 10 min after the
// end of a first token of that life, and looks after it.
func outage(life time.Duration) func(*server, client) error {
	return func(s *server, c client) error {
		if err := check(s, c); err != nil {
			return err
		}
		for passed := time.Duration(0); passed < life+10*time.Minute; passed += time.Minute {
			if passed == life-10*time.Minute {
				s.MustSet(host.Unreachable, host.Always)
			}
			time.Sleep(time.Minute)
			if err := check(s, c); err != nil {
				return fmt.Errorf("after %v: %w", passed, err)
			}
		}
		return nil
	}
}

// closed has a renewal answered with 429, and asks for tokens all the time.
func closed(sw string) func(*server, client) error {
	return func(s *server, c client) error {
		if err := check(s, c); err != nil {
			return err
		}
		limit, err := host.ParseSwitch(sw)
		if err != nil {
			return err
		}
		s.MustSet(host.TooManyRequests, limit)
		for range 120 {
			c.Token() // its error is not the question
			time.Sleep(time.Minute)
			if s.Count(host.KindFault) > 0 {
				break
			}
		}
		for range 60 {
			c.Token()
			time.Sleep(2 * time.Second)
		}
		if s.Count(host.KindFault) != 1 {
			return fmt.Errorf("%d renewals were answered with 429", s.Count(host.KindFault))
		}
		if n := s.Count(host.KindInside); n > 0 {
			return fmt.Errorf("%d requests inside the window", n)
		}
		return nil
	}
}

// hammer lets 8 programs ask for ten seconds.
func hammer(s *server, c client) error {
	if err := check(s, c); err != nil {
		return err
	}
	s.MustSet(beamery.RemainingZero, host.Every(7).On(beamery.OpTasks))
	var wg sync.WaitGroup
	until := time.Now().Add(10 * time.Second)
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(until) {
				c.Get("/v1/tasks")
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if n := s.Count(host.KindInside); n > 0 {
		return fmt.Errorf("%d requests inside closed windows", n)
	}
	if n := len(s.Arrivals(beamery.OpTasks)); n < 20 {
		return fmt.Errorf("only %d requests were made", n)
	}
	return nil
}

func restart(s *server, c client) error {
	s.MustSet(placeos.RevokeAtOnce, host.Always)
	if err := valid(5*time.Hour, 10*time.Minute)(s, c); err != nil {
		return err
	}
	c.Restart()
	if err := valid(5*time.Hour, 10*time.Minute)(s, c); err != nil {
		return fmt.Errorf("restarted: %w", err)
	}
	if n := s.Count(host.KindIssue); n > 1 {
		return fmt.Errorf("%d tokens were created", n)
	}
	return nil
}

func retires(s *server, c client) error {
	if err := valid(day, 10*time.Minute)(s, c); err != nil {
		return err
	}
	if n := s.refreshable(); n > 2 {
		return fmt.Errorf("%d refresh tokens still work", n)
	}
	return nil
}
