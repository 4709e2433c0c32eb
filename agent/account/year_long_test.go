//go:build long

package account

// The size of TestYear.
const (
	yearDevices = 1000
	yearDays    = 365
)
