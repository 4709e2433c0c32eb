package account

import (
	"encoding/base64"
	"time"
)

const day = 24 * time.Hour

// happenings are what befalls a device. Its habits are drawn once: always on,
// on for shifts, switched at whim, or asleep most of the time.
func (d *device) happenings() []*happening {
	start := d.now()
	d.linked = true
	all := []*happening{
		{start, d.network},
		{start, d.cloud},
		{start, d.timeSync},
		{start, d.meddle},
		{start, d.otherProgram},
		{start, func() time.Duration { return 6 * time.Hour }},
		{start, [](func() time.Duration){d.alwaysOn, d.shifts, d.whim, d.sleeper}[d.seed%4]},
	}
	for _, h := range all {
		h.next = start.Add(d.exp(12 * time.Hour))
	}
	return all
}

func (d *device) network() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.linked = !d.linked; d.linked {
		if d.keeper != nil && d.seed%3 == 0 { // others hear of the cloud's outages no more than of their end
			d.keeper.Nudge()
		}
		return d.exp(2 * day)
	}
	if d.rng.IntN(30) == 0 {
		return d.between(day, 6*day+12*time.Hour)
	}
	return d.exp(2 * time.Hour)
}

func (d *device) cloud() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.episode != "" {
		d.episode = ""
		return d.exp(4 * day)
	}
	d.episode = []string{"refusing", "limited", "broken", "losing", "silent"}[d.rng.IntN(5)]
	wait := d.exp(time.Hour)
	d.until = d.now().Add(wait)
	return wait
}

// wrongBy draws how far the system clock is off after a boot.
func (d *device) wrongBy() time.Duration {
	to := func(t time.Time) time.Duration { return t.Sub(d.now()) }
	switch d.rng.IntN(8) {
	case 0, 1:
		return to(time.Unix(0, 0))
	case 2:
		return to(time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC))
	case 3:
		return d.between(-10*365*day, 10*365*day)
	case 4:
		return -d.between(0, 30*day) // as it was when the power failed
	}
	return d.between(-2*time.Second, 2*time.Second)
}

// timeSync is NTP, which mostly mends and sometimes breaks the clock.
func (d *device) timeSync() time.Duration {
	wrong := d.between(-time.Second, time.Second)
	if d.rng.IntN(10) == 0 {
		wrong = d.wrongBy()
	}
	if d.linked {
		d.wall.Store(int64(wrong))
	}
	return d.exp(2 * day)
}

// meddle damages the identity file.
func (d *device) meddle() time.Duration {
	old, err := d.disk.ReadFile(confFile)
	if err != nil || d.keeper == nil {
		return d.exp(day)
	}
	if s, _ := d.keeper.Status(); string(old) == d.brought && s.Token.Raw() != d.brought {
		return d.exp(day) // the person stays until the device has taken it
	}
	damage := [][]byte{{}, make([]byte, len(old)), []byte("not a token"), d.oldest(), []byte(garbage)}
	d.disk.Put(confFile, damage[d.rng.IntN(len(damage))])
	if d.rng.IntN(2) == 0 {
		d.offer()
	}
	return d.exp(15 * day)
}

// garbage looks like a token.
var garbage = "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":4102444800}`)) + ".x"

// oldest is a copy of some token of the last weeks.
func (d *device) oldest() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, raw := range d.given {
		if t := d.tokens[raw]; t.expires.After(d.now().Add(-8*day)) && !t.stillborn {
			return []byte(raw)
		}
	}
	return nil
}

// otherProgram renews the token in the identity file by itself.
func (d *device) otherProgram() time.Duration {
	if d.mrs && d.on() && d.linked {
		raw, _ := d.disk.ReadFile(confFile)
		d.mu.Lock()
		fresh, err := d.login(string(raw))
		d.mu.Unlock()
		if err == nil && fresh != "" {
			d.disk.Put(confFile, []byte(fresh))
			d.offer()
		}
	}
	return d.between(30*time.Minute, 5*time.Hour)
}

// alwaysOn loses power now and then, at times in the middle of a write.
func (d *device) alwaysOn() time.Duration { return d.restart(d.exp(30*time.Minute), d.exp(15*day)) }

// shifts are eight hours or so a day, and none at the end of the week.
func (d *device) shifts() time.Duration {
	off := d.between(10*time.Hour, 18*time.Hour)
	if d.rng.IntN(5) == 0 {
		off = d.between(day, 5*day)
	}
	return d.restart(off, d.between(6*time.Hour, 12*time.Hour))
}

func (d *device) whim() time.Duration { return d.restart(d.exp(6*time.Hour), d.exp(2*time.Hour)) }

// restart switches the device on, or off by one of three ways.
func (d *device) restart(off, on time.Duration) time.Duration {
	if d.keeper == nil {
		d.boot()
		return on
	}
	if d.rng.IntN(3) == 0 {
		d.disk.CutAt(d.disk.Calls() + 1 + d.rng.IntN(40))
		return on
	}
	d.halt(d.rng.IntN(2) == 0)
	return off
}

// sleeper is suspended most of the time: its timers stand still meanwhile.
func (d *device) sleeper() time.Duration {
	if d.keeper == nil {
		d.boot()
	}
	d.mu.Lock()
	if !d.since.IsZero() {
		d.spans = append(d.spans, span{d.since, d.now()})
		d.since = time.Time{}
	}
	d.jumped.Add(int64(d.exp(8 * time.Hour)))
	d.mu.Unlock()
	return d.between(10*time.Minute, 6*time.Hour)
}
