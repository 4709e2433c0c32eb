package telemetry

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// sentence adds the checksum.
func sentence(body string) string {
	var sum byte
	for i := range len(body) {
		sum ^= body[i]
	}
	return fmt.Sprintf("$%s*%02X\r\n", body, sum)
}

func TestParseRMC(t *testing.T) {
	heading := 84.4
	for line, want := range map[string]Fix{
		// The example of the standard, with its checksum.
		"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A":       {48.1173, 11.516667, &heading, 22.4 * metresPerKnot},
		sentence("GNRMC,001031.00,A,4404.13993,S,12118.86023,W,0.146,,100117,,,A,V"): {-44.068999, -121.314337, nil, 0.146 * metresPerKnot},
		"  " + sentence("GNRMC,001031.00,A,0000.0,N,00000.0,E,,,100117,,,A"):         {0, 0, nil, 0},
	} {
		got, err := ParseRMC([]byte(line))
		same := err == nil && math.Abs(got.Lat-want.Lat) < 1e-6 && math.Abs(got.Lon-want.Lon) < 1e-6 && math.Abs(got.Speed-want.Speed) < 1e-9 &&
			(got.Heading == nil) == (want.Heading == nil) && (got.Heading == nil || *got.Heading == *want.Heading)
		if !same {
			t.Errorf("ParseRMC(%q) = %+v, %v, want %+v", line, got, err, want)
		}
	}
	for line, want := range map[string]error{
		sentence("GPRMC,123519,V,,,,,,,230394,,,N"):                               ErrNoFix,
		sentence("GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,,,N"):  ErrNoFix,
		sentence("GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"): errOther,
		sentence("GPRMC,123519,A,4807.038,N"):                                     errOther,
		"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6B":    errSentence,
		"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W":       errSentence,
		"": errSentence, "$*00": errOther, "*": errSentence, "$": errSentence,
	} {
		if got, err := ParseRMC([]byte(line)); !errors.Is(err, want) {
			t.Errorf("ParseRMC(%q) = %+v, %v, want %v", line, got, err, want)
		}
	}
	for _, body := range []string{
		"GPRMC,1,A,9001.0,N,01131.0,E,0,0,230394,,", "GPRMC,1,A,4860.0,N,01131.0,E,0,0,230394,,", "GPRMC,1,A,4807.0,X,01131.0,E,0,0,230394,,",
		"GPRMC,1,A,4807.0,N,18001.0,E,0,0,230394,,", "GPRMC,1,A,,N,,E,0,0,230394,,", "GPRMC,1,A,-4807.0,N,01131.0,E,0,0,230394,,",
		"GPRMC,1,A,4807.0,N,01131.0,E,1e9,0,230394,,", "GPRMC,1,A,4807.0,N,01131.0,E,NaN,0,230394,,", "GPRMC,1,A,4807.0,N,01131.0,E,999999,0,230394,,",
		"GPRMC,1,A,4.8.0,N,01131.0,E,0,0,230394,,",
	} {
		if got, err := ParseRMC([]byte(sentence(body))); err == nil {
			t.Errorf("ParseRMC(%q) = %+v", body, got)
		}
	}
}

func TestRMCOfAnyPlaceIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lat, lon := rapid.Float64Range(-89.99, 89.99).Draw(t, "lat"), rapid.Float64Range(-179.99, 179.99).Draw(t, "lon")
		knots, track := rapid.Float64Range(0, 600).Draw(t, "knots"), rapid.Float64Range(0, 359.9).Draw(t, "track")
		dm := func(v float64) string {
			v = math.Abs(v)
			return fmt.Sprintf("%02d%010.7f", int(v), min(59.9999999, 60*(v-math.Floor(v))))
		}
		side := func(v float64, plus, minus string) string {
			if v < 0 {
				return minus
			}
			return plus
		}
		line := sentence(fmt.Sprintf("GNRMC,000000.00,A,%s,%s,%s,%s,%.3f,%.2f,010126,,,D", dm(lat), side(lat, "N", "S"), dm(lon), side(lon, "E", "W"), knots, track))
		got, err := ParseRMC([]byte(line))
		if err != nil || math.Abs(got.Lat-lat) > 1e-7 || math.Abs(got.Lon-lon) > 1e-7 || math.Abs(got.Speed-knots*1852/3600) > 1e-3 {
			t.Fatalf("ParseRMC(%q) = %+v, %v", line, got, err)
		}
	})
}

func FuzzParseRMC(f *testing.F) {
	f.Add("GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W")
	f.Add("GNRMC,001031.00,A,4404.13993,S,12118.86023,W,0.146,,100117,,,A,V")
	f.Add("GPRMC,,V,,,,,,,,,,N")
	f.Fuzz(func(t *testing.T, body string) {
		for _, line := range []string{body, sentence(body)} {
			fix, err := ParseRMC([]byte(line))
			if err == nil {
				plausible(t, fix)
			}
		}
	})
}

func plausible(t *testing.T, f Fix) {
	t.Helper()
	if !(math.Abs(f.Lat) <= 90 && math.Abs(f.Lon) <= 180 && f.Speed >= 0 && f.Speed < 1e5) || f.Heading != nil && !(*f.Heading >= 0 && *f.Heading <= 360) {
		t.Fatalf("%+v", f)
	}
}

func TestMetres(t *testing.T) {
	for _, tt := range []struct {
		a, b Fix
		want float64
	}{
		{Fix{Lat: 44.1}, Fix{Lat: 44.1}, 0},
		{Fix{}, Fix{Lat: 1}, 111195},
		{Fix{Lat: 60}, Fix{Lat: 60, Lon: 1}, 55597},
		{Fix{Lon: 179.9999}, Fix{Lon: -179.9999}, 22.24},
		{Fix{Lat: 90}, Fix{Lat: -90}, math.Pi * earth},
	} {
		if got := metres(tt.a, tt.b); math.Abs(got-tt.want) > 0.001*tt.want {
			t.Errorf("from %v to %v: %v m, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}
