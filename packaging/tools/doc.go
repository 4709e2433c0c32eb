// Package tools pins the programs that check and pack the project; their
// requirements stay out of the agent's own go.mod.
package tools
