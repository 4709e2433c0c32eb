// Package packaging holds what the packages ship and the simulator plays with.
package packaging

import "embed"

// Hooks are the shipped hook for files and what it shares with the others, in
// the directory hooks.
//
//go:embed hooks/file hooks/lib.sh
var Hooks embed.FS
