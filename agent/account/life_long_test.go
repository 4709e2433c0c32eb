//go:build long

package account

const seeds = 12
