package agent

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/clock"
	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// A gateway without a battery for its clock, without modules and without
// anything to upload asks the cloud nothing but for its token: no answer tells
// it the time before that.
func TestAGatewayIn1970ThatAsksNothingElseRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := cloudtest.New(cloudtest.Options{})
		defer cloud.Close()
		gw := newGateway(t, cloud)
		gw.conf.Modules = nil
		gw.startWith(t, func(up time.Duration) clock.Reading {
			return clock.Reading{Wall: time.Unix(0, 0).Add(up), Boot: up, BootID: "1"}
		})
		for hour := range 10 * 24 {
			time.Sleep(time.Hour)
			if !gw.usable() {
				t.Fatalf("hour %d: no usable token: %+v", hour, gw.g.status().Token)
			}
		}
		gw.stop(t)
	})
}

// startWith is start on a system whose clocks are what read makes of the time
// since boot.
func (gw *gateway) startWith(t *testing.T, read func(up time.Duration) clock.Reading) {
	t.Helper()
	r := &runner{commands: newCommands(slog.New(slog.DiscardHandler)), Options: Options{
		Version: "test", Log: slog.New(slog.DiscardHandler), Dial: gw.cloud.DialContext, Built: gw.boot.Add(-time.Hour),
		ReadClock: func() clock.Reading { return read(time.Since(gw.boot)) },
	}}
	r.keepLog()
	s, err := complete(gw.conf)
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.assemble(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	gw.g, gw.done = g, make(chan error, 1)
	var ctx context.Context
	ctx, gw.cancel = context.WithCancel(context.Background())
	g.readIdentity()
	go func() { gw.done <- RunTasks(ctx, g.Log, g.spine()...) }()
}
