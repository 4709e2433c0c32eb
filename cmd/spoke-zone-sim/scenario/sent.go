package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest"
)

// sent are the messages that a local program gave the agent to publish. Each
// says its number, so that it is known again.
type sent struct {
	publish func(ctx context.Context, topic, payload string) error

	mu     *sync.Mutex
	topics map[string]*series
	cancel context.CancelFunc // of the load, nil without
	group  *errgroup.Group
}

// A series are the messages of one topic.
type series struct {
	next     int
	accepted []string        // in this order
	unsure   map[string]bool // no answer came: they may arrive
}

func newSent(publish func(ctx context.Context, topic, payload string) error) sent {
	return sent{publish: publish, mu: new(sync.Mutex), topics: map[string]*series{}, group: new(errgroup.Group)}
}

// one publishes the next message of a topic.
func (s *sent) one(ctx context.Context, topic string) error {
	s.mu.Lock()
	of := s.topics[topic]
	if of == nil {
		of = &series{unsure: map[string]bool{}}
		s.topics[topic] = of
	}
	of.next++
	payload := fmt.Sprintf("%s number %06d", topic, of.next)
	s.mu.Unlock()
	err := s.publish(ctx, topic, payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		of.unsure[payload] = true
		return err
	}
	of.accepted = append(of.accepted, payload)
	return nil
}

// load publishes so many a second until stop. What is refused is not counted:
// the agent may be killed meanwhile.
func (s *sent) load(rate int, topic string) error {
	if s.cancel != nil {
		return errors.New("there is a load already")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.group.Go(func() error {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				_ = s.one(context.WithoutCancel(ctx), topic)
			}
		}
	})
	return nil
}

func (s *sent) stop() {
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
		_ = s.group.Wait()
	}
}

// arrived compares them with what the cloud has: every one, in order, once if
// that is asked for, and none that nobody sent.
func (s *sent) arrived(messages []cloudtest.Message, once bool) (seen string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, twice := 0, 0
	for topic, of := range s.topics {
		var got []string
		have := map[string]bool{}
		for _, m := range messages {
			payload := string(m.Payload)
			switch {
			case below(m.Topic) != topic:
			case have[payload]:
				twice++
			default:
				have[payload] = true
				if !of.unsure[payload] {
					got = append(got, payload)
				}
			}
		}
		for i, payload := range of.accepted {
			if i >= len(got) {
				return fmt.Sprintf("%d of %d messages of %s arrived", len(got), len(of.accepted), topic), false
			}
			if got[i] != payload {
				return fmt.Sprintf("at place %d of %s there is %q, not %q", i+1, topic, got[i], payload), false
			}
		}
		if len(got) > len(of.accepted) {
			return fmt.Sprintf("%s has %d messages that nobody sent", topic, len(got)-len(of.accepted)), false
		}
		all += len(of.accepted)
	}
	if all == 0 {
		return "no message was sent", false
	}
	return fmt.Sprintf("%d messages, all in order, %d of them twice", all, twice), !once || twice == 0
}
