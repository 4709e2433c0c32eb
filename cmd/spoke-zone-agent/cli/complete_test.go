package cli

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestACompletionDoesNotWaitForADaemonThatHangs but asks the settings.
func TestACompletionDoesNotWaitForADaemonThatHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	silent, err := net.Listen("unix", socket) // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	term := newTerminal(t)
	ended := make(chan int, 1)
	go func() { ended <- term.Run([]string{"__complete", "token", "--socket", socket, ""}) }()
	select {
	case got := <-ended:
		if got != OK || !strings.HasPrefix(term.out.String(), "device\n") {
			t.Errorf("exit status %d: %q", got, term.out.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it still waits")
	}
}

func TestWhatIsCompletedIsOneWordAndItsText(t *testing.T) {
	if got, want := completion("a\tb\nc", "x\ty\x1b[2J"), "a b c\tx y?[2J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
