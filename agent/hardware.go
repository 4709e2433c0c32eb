package agent

import (
	"bufio"
	"bytes"
	"os"
	"strings"
)

// cpuIDSources are where a board says its serial number, best first. The cloud
// was told one of them when the device was made; which, differs from product to
// product.
var cpuIDSources = []struct {
	path string
	read func([]byte) string
}{
	{"/sys/firmware/devicetree/base/serial-number", whole},
	{"/sys/devices/soc0/serial_number", whole},
	{"/proc/cpuinfo", cpuinfoSerial},
}

// hardwareCPUID finds the processor's serial number below root ("/" but in
// tests) and says where.
func hardwareCPUID(root string) (id, source string) {
	for _, s := range cpuIDSources {
		b, err := os.ReadFile(root + s.path)
		if err != nil || len(b) > 64<<10 {
			continue
		}
		if id := s.read(b); id != "" {
			return id, s.path
		}
	}
	return "", ""
}

func whole(b []byte) string { return strings.TrimSpace(strings.TrimRight(string(b), "\x00\n")) }

// cpuinfoSerial reads the line "Serial : 1000000012345678" of 32-bit ARM.
func cpuinfoSerial(b []byte) string {
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		if ok && strings.TrimSpace(key) == "Serial" && strings.Trim(value, "0") != "" {
			return value
		}
	}
	return ""
}
