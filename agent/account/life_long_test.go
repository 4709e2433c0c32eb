//go:build long

package account

// How many lives there are at each cloud, and how long they are.
const (
	seeds    = 12
	lifeDays = 90
)
