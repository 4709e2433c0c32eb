package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// GPSD is a gpsd that gpsfake feeds with what a receiver would say.
type GPSD struct {
	Addr string // host:port

	*process
}

// StartGPSD starts a gpsd in dir whose receiver travels north along a meridian
// at 10 knots, from 44.067 north, 93.1 west.
func StartGPSD(dir string) (*GPSD, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	var log strings.Builder
	for i := range 60 {
		for _, body := range []string{
			fmt.Sprintf("GPRMC,1200%02d.00,A,4404.%03d0,N,09306.0000,W,10.0,90.0,221126,,,A", i, 10*i),
			fmt.Sprintf("GPGGA,1200%02d.00,4404.%03d0,N,09306.0000,W,1,08,0.9,300.0,M,-30.0,M,,", i, 10*i),
			"GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.5,0.9,1.2",
		} {
			var sum byte
			for i := range len(body) {
				sum ^= body[i]
			}
			fmt.Fprintf(&log, "$%s*%02X\r\n", body, sum)
		}
	}
	name := filepath.Join(dir, "receiver.nmea")
	if err := os.WriteFile(name, []byte(log.String()), 0o644); err != nil {
		return nil, err
	}
	g := &GPSD{Addr: addr}
	g.process, err = start(filepath.Join(dir, "gpsd.log"), addr, "gpsfake", "-q", "-u", "-n", "-c", "0.1", "-P", port(addr), name)
	return g, err
}

// Stop ends gpsd and what feeds it.
func (g *GPSD) Stop() { g.stop() }
