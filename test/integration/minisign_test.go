//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spoke-zone/spoke-zone-agent/ota/release"
)

// TestMinisignAndTheAgentTakeEachOthersSignatures signs with the one and checks
// with the other, both ways, with an encrypted key and with one that is not.
func TestMinisignAndTheAgentTakeEachOthersSignatures(t *testing.T) {
	agent, err := filepath.Abs("../../build/spoke-zone-agent")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, input, flags string }{
		{"encrypted", "a passphrase\n", ""}, {"plain", "", "-W"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			tool := func(input, name string, args ...string) string {
				t.Helper()
				cmd := exec.Command(name, args...)
				cmd.Stdin = strings.NewReader(input)
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
				}
				return string(out)
			}
			write := func(name, text string) {
				t.Helper()
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("firmware.bin", strings.Repeat("a payload\n", 5000))
			write("passphrase", c.input)
			tool(c.input+c.input, "minisign", append(strings.Fields(c.flags), "-G", "-p", "key.pub", "-s", "key.sec")...)

			// Ours, checked by minisign.
			line := strings.TrimSpace(tool("", agent, "ota", "sign", "--key", "key.sec", "--passphrase-file", "passphrase",
				"--module", "display", "--version", "1.1.0", "--counter", "5", "--minisig", "firmware.bin.minisig", "firmware.bin"))
			statement, _, _ := strings.Cut(line, " sig=")
			said := tool("", "minisign", "-V", "-m", "firmware.bin", "-p", "key.pub")
			if !strings.Contains(said, "Trusted comment: "+statement+"\n") {
				t.Errorf("minisign says %q, want the trusted comment %q", said, statement)
			}

			// Minisign's, checked by us, and the line made as docs/signing.md tells.
			tool(c.input, "minisign", "-S", "-m", "firmware.bin", "-s", "key.sec", "-t", statement)
			theirs := strings.TrimSpace(tool("", "sh", "-c", `printf '%s sig=%s.%s\n' "$1" "$(sed -n 2p firmware.bin.minisig)" "$(sed -n 4p firmware.bin.minisig)"`, "sh", statement))
			if theirs != line {
				t.Errorf("minisign's line is\n%s, ours\n%s", theirs, line)
			}
			text, err := os.ReadFile("key.pub")
			if err != nil {
				t.Fatal(err)
			}
			key, err := release.ParsePublicKey(text)
			if err != nil {
				t.Fatal(err)
			}
			found, err := release.Find("Notes.\n\n"+theirs+"\n", "display", "1.1.0")
			if err != nil {
				t.Fatal(err)
			}
			payload, err := os.ReadFile("firmware.bin")
			if err != nil {
				t.Fatal(err)
			}
			d := release.NewDigest()
			d.Write(payload)
			if err := found.VerifyPayload([]release.PublicKey{key}, d); err != nil {
				t.Error(err)
			}

			// A payload that was changed is refused by both.
			write("firmware.bin", "another")
			if err := exec.Command("minisign", "-V", "-m", "firmware.bin", "-p", "key.pub").Run(); err == nil {
				t.Error("minisign takes another payload")
			}
			d = release.NewDigest()
			d.Write([]byte("another"))
			if found.VerifyPayload([]release.PublicKey{key}, d) == nil {
				t.Error("we take another payload")
			}
		})
	}
}
