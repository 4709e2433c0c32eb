//go:build !long && race

package account

// The size of TestYear.
const (
	yearDevices = 20
	yearDays    = 60
)
