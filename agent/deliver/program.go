package deliver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxOutput is how much of what a program prints is kept, in bytes.
const maxOutput = 1 << 10

// run runs argv without a shell, with no input and a bare environment, in a
// process group that ends with ctx. What it printed is told when it fails.
func run(ctx context.Context, argv, env []string, tok Token) error {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/sbin:/usr/bin:/sbin:/bin"
	}
	var out head
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=" + path, "LANG=C"}, env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		err = cause
	}
	said := strings.ReplaceAll(string(out.data), tok.Value, "[redacted]")
	if out.cut { // the rest of a token may be at the end
		said = said[:max(0, len(said)-len(tok.Value))]
	}
	if said = strings.Join(strings.Fields(said), " "); said != "" {
		return fmt.Errorf("%s: %w: %.200q", argv[0], err, said)
	}
	return fmt.Errorf("%s: %w", argv[0], err)
}

// A head keeps the first bytes that are written to it, and takes the rest.
type head struct {
	data []byte
	cut  bool
}

func (h *head) Write(b []byte) (int, error) {
	n := min(len(b), maxOutput-len(h.data))
	h.data = append(h.data, b[:n]...)
	h.cut = h.cut || n < len(b)
	return len(b), nil
}
