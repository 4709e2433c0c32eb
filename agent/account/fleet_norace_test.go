//go:build !race

package account

// fleet is the number of devices in TestFleetAfterAnOutage.
const fleet = 10_000
