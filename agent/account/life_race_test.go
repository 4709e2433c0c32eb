//go:build !long && race

package account

// How many lives there are at each cloud, and how long they are.
const (
	seeds    = 1
	lifeDays = 20
)
