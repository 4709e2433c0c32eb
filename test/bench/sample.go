package main

import (
	"fmt"
	"slices"
)

// A sample is what repeated measurements of one thing gave.
type sample []float64

func (s sample) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(s)/2]
}

// show prints the median and the extremes with so many decimals.
func (s sample) show(decimals int) string {
	if len(s) < 2 {
		return fmt.Sprintf("%.*f", decimals, s.median())
	}
	return fmt.Sprintf("%.*f (%.*f-%.*f)", decimals, s.median(), decimals, slices.Min(s), decimals, slices.Max(s))
}

// goal is a line that says how got compares with what was aimed at.
func goal(what string, got, most float64, unit string) string {
	verdict := "met"
	if got > most {
		verdict = "**missed**"
	}
	return fmt.Sprintf("- %s: %.2f%s, goal at most %.2f%s: %s\n", what, got, unit, most, unit, verdict)
}
