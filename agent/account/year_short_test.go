//go:build !long && !race

package account

// The size of TestYear.
const (
	yearDevices = 200
	yearDays    = 365
)
