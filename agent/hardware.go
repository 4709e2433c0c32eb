package agent

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// maxHardware bounds what is read of a file that a board says its number in.
const maxHardware = 64 << 10

// hardware is where a board says its serial number, best first. The cloud was
// told one of them when the device was made; which, differs from product to
// product.
var hardware = []struct {
	path string
	read func([]byte) string
}{
	{"/sys/firmware/devicetree/base/serial-number", whole},
	{"/sys/devices/soc0/serial_number", whole},
	{"/proc/cpuinfo", cpuinfoSerial},
}

// Keys of what a device says of itself at loginDevice.
const (
	KeyCPUID = "cpu_id"
	KeyUUID  = "uuid"
)

// A Source is one place where the cpu_id or the uuid of the device may stand.
type Source struct {
	Key   string // KeyCPUID or KeyUUID
	Name  string // settings, identity_file, state (what that file said once), or a file of the system
	Value string // "" if it is not there
}

// Sources lists every place where cpu_id and uuid are looked for, in the order
// in which they count: of each key the first value is used. Files of the system
// are those below root, "" outside of tests.
func Sources(c conf.Identity, f conf.IdentityFile, k Kept, root string) []Source {
	all := []Source{
		{KeyCPUID, "settings", c.CPUID}, {KeyCPUID, "identity_file", f.CPUID}, {KeyCPUID, "state", k.CPUID},
	}
	for _, h := range hardware {
		all = append(all, Source{KeyCPUID, h.path, h.read(head(root + h.path))})
	}
	return append(all, Source{KeyUUID, "settings", c.UUID}, Source{KeyUUID, "identity_file", f.UUID}, Source{KeyUUID, "state", k.UUID})
}

// Used is the source whose value of key is used; its Value is "" if none has
// one.
func Used(all []Source, key string) Source {
	for _, s := range all {
		if s.Key == key && s.Value != "" {
			return s
		}
	}
	return Source{Key: key}
}

// head is the beginning of a file, nothing if it cannot be read.
func head(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHardware))
	if err != nil {
		return nil
	}
	return b
}

func whole(b []byte) string { return plausible(strings.TrimRight(string(b), "\x00\n")) }

// cpuinfoSerial reads the line "Serial : 1000000012345678" of ARM boards.
func cpuinfoSerial(b []byte) string {
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == "Serial" {
			return plausible(value)
		}
	}
	return ""
}

// plausible is a serial number, or "" for what boards without one say: nothing,
// zeros, or bytes that are no text.
func plausible(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 256 || strings.Trim(s, "0") == "" || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return s
}
