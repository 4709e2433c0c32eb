package telemetry

import (
	"context"
	"errors"
	"math"
)

// ErrNoFix means that a source answers and does not know where the device is.
var ErrNoFix = errors.New("no fix")

// A Fix is where the device is and how it moves.
type Fix struct {
	Lat, Lon float64  // degrees, north and east above 0
	Heading  *float64 // degrees from true north, 0 to 360; nil at rest
	Speed    float64  // metres per second
}

// A Source knows where the device is. Only one goroutine uses it.
type Source interface {
	// Fix returns where the device is now. It is ErrNoFix when that is unknown.
	Fix(ctx context.Context) (Fix, error)
	// Close lets go of what Fix has opened.
	Close() error
}

// check reports a position that is on no globe, and puts the heading in range.
func (f *Fix) check() error {
	if !(math.Abs(f.Lat) <= 90 && math.Abs(f.Lon) <= 180) || !(f.Speed >= 0 && f.Speed < 1e5) {
		return errors.New("position or speed out of range")
	}
	if f.Heading != nil {
		h := math.Mod(*f.Heading, 360)
		if h < 0 {
			h += 360
		}
		f.Heading = &h
		if !(h >= 0 && h <= 360) {
			f.Heading = nil
		}
	}
	return nil
}

// earth is its mean radius, in metres.
const earth = 6371008.8

// metres is the distance between two fixes along the surface (haversine).
func metres(a, b Fix) float64 {
	rad := func(degrees float64) float64 { return degrees * math.Pi / 180 }
	sin2 := func(degrees float64) float64 { s := math.Sin(rad(degrees) / 2); return s * s }
	h := sin2(b.Lat-a.Lat) + math.Cos(rad(a.Lat))*math.Cos(rad(b.Lat))*sin2(b.Lon-a.Lon)
	return 2 * earth * math.Asin(math.Sqrt(min(1, max(0, h))))
}
