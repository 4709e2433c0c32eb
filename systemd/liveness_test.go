package systemd

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLivenessNamesTheLoopThatIsStuck(t *testing.T) { synctest.Test(t, namesTheStuckLoop) }

func namesTheStuckLoop(t *testing.T) {
	var l Liveness
	if err := l.Err(); err != nil {
		t.Errorf("the zero Liveness: %v", err)
	}
	l.Alive("mqtt", time.Minute)
	l.Alive("token", 10*time.Minute)
	time.Sleep(time.Minute)
	if err := l.Err(); err != nil {
		t.Errorf("at the end of the promise: %v", err)
	}
	time.Sleep(2 * time.Second)
	const want = "mqtt silent for 1m2s (promised within 1m0s)"
	if err := l.Err(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	l.Alive("mqtt", time.Minute)
	if err := l.Err(); err != nil {
		t.Errorf("after a new sign of life: %v", err)
	}
}

func TestLivenessNamesAllInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Liveness
		l.Alive("ota", time.Second)
		l.Alive("mqtt", time.Second)
		time.Sleep(time.Hour)
		const want = "mqtt silent for 1h0m0s (promised within 1s); ota silent for 1h0m0s (promised within 1s)"
		if err := l.Err(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestLivenessForgetsLoopsThatRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Liveness
		l.Alive("upload", time.Second)
		l.Rest("upload")
		l.Rest("never seen")
		time.Sleep(time.Hour)
		if err := l.Err(); err != nil {
			t.Error(err)
		}
	})
}
