//go:build race

package account

// fleet is the number of devices in TestFleetAfterAnOutage: the race detector
// takes no more than 8,128 goroutines.
const fleet = 1_000
