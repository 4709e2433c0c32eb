//go:build !long && !race

package account

// The size of TestYear.
const (
	yearDevices = 100
	yearDays    = 60
)
