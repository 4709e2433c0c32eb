package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// kernelReceiver is the first receiver that the kernel itself knows.
const kernelReceiver = "/dev/gnss0"

// NewSource is the source that the setting telemetry.location_source names; nil
// if it is off.
func NewSource(setting string) (Source, error) {
	kind, rest, _ := strings.Cut(setting, ":")
	switch kind {
	case "off":
		return nil, nil
	case "auto":
		return &either{gpsd: newGPSD(defaultGPSD), receiver: &NMEA{Device: kernelReceiver}}, nil
	case "gpsd":
		if rest == "" {
			rest = defaultGPSD
		}
		return newGPSD(rest), nil
	case "nmea":
		device, speed, _ := strings.Cut(rest, "@")
		baud, err := strconv.ParseUint(speed, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("speed %.20q of %s", speed, device)
		}
		return &NMEA{Device: device, Baud: uint32(baud)}, nil
	}
	return nil, fmt.Errorf("location source %.40q", setting)
}

// either asks gpsd, and where none listens the kernel's receiver.
type either struct {
	gpsd     *GPSD
	receiver *NMEA
}

func (e *either) Close() error { return e.gpsd.Close() }

func (e *either) Fix(ctx context.Context) (Fix, error) {
	fix, err := e.gpsd.Fix(ctx)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fix, err
	}
	if fix, err := e.receiver.Fix(ctx); !errors.Is(err, os.ErrNotExist) {
		return fix, err
	}
	return Fix{}, errNoSource
}

// errNoSource is what auto finds on most gateways.
var errNoSource = errors.New("neither gpsd nor " + kernelReceiver + " is there")
