package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxSentence is the longest line that is looked at. NMEA 0183 has 82 bytes;
// receivers send longer ones of their own.
const maxSentence = 256

// metresPerKnot is one knot in metres per second.
const metresPerKnot = 1852.0 / 3600

var (
	errSentence = errors.New("no sentence of NMEA 0183")
	errOther    = errors.New("another sentence than RMC")
)

// ParseRMC reads a sentence RMC of NMEA 0183, of any talker:
//
//	$GNRMC,hhmmss.ss,A,llll.ll,N,yyyyy.yy,E,knots,track,ddmmyy,,,mode*cs
//
// The checksum must be there. The error is ErrNoFix when the receiver says so.
func ParseRMC(line []byte) (Fix, error) {
	body, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("$"))
	star := bytes.LastIndexByte(body, '*')
	if !ok || star < 0 || len(body) != star+3 || len(body) > maxSentence {
		return Fix{}, errSentence
	}
	want, err := strconv.ParseUint(string(body[star+1:]), 16, 8)
	var sum byte
	for _, b := range body[:star] {
		sum ^= b
	}
	if err != nil || byte(want) != sum {
		return Fix{}, fmt.Errorf("%w: wrong checksum", errSentence)
	}
	f := strings.Split(string(body[:star]), ",")
	if len(f[0]) != 5 || f[0][2:] != "RMC" || len(f) < 10 {
		return Fix{}, errOther
	}
	if f[2] != "A" || len(f) > 12 && f[12] == "N" {
		return Fix{}, ErrNoFix
	}
	lat, err1 := degrees(f[3], f[4], "N", "S", 90)
	lon, err2 := degrees(f[5], f[6], "E", "W", 180)
	fix := Fix{Lat: lat, Lon: lon}
	var err3, err4 error
	if f[7] != "" {
		fix.Speed, err3 = number(f[7])
		fix.Speed *= metresPerKnot
	}
	if f[8] != "" {
		var heading float64
		heading, err4 = number(f[8])
		fix.Heading = &heading
	}
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Fix{}, err
	}
	return fix, fix.check()
}

// degrees reads ddmm.mmmm and its hemisphere.
func degrees(text, side, plus, minus string, most float64) (float64, error) {
	v, err := number(text)
	if err != nil {
		return 0, err
	}
	whole := math.Floor(v / 100)
	minutes := v - 100*whole
	d := whole + minutes/60
	if minutes >= 60 || d > most || side != plus && side != minus {
		return 0, fmt.Errorf("coordinate %.20q %.4q", text, side)
	}
	if side == minus {
		d = -d
	}
	return d, nil
}

// number reads a decimal number without sign or exponent.
func number(text string) (float64, error) {
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, fmt.Errorf("%.20q is no number", text)
	}
	return strconv.ParseFloat(text, 64)
}
