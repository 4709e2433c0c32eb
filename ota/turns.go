package ota

import (
	"fmt"
	"sync"
)

// turns let one module be installed at a time, in the order of the modules.
type turns struct {
	mu     sync.Mutex
	looks  int          // of all modules, so far
	looked map[int]int  // the newest look of each
	since  map[int]int  // the look since which it wants to be installed
	asked  map[int]int  // its looks since then
	opened map[int]bool // whose records are known
	holder int          // whose turn it is, from 1; 0 nobody's
}

// patient is how many looks one waits for those before it that have not looked
// since something changed for all, such as the window.
const patient = 3

// want notes that the i-th module has looked, and whether it may be installed.
func (t *turns) want(i int, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.looked == nil {
		t.looked, t.since, t.asked = map[int]int{}, map[int]int{}, map[int]int{}
	}
	t.looks++
	t.looked[i] = t.looks
	if !yes {
		delete(t.since, i)
		delete(t.asked, i)
		return
	}
	if t.asked[i]++; t.since[i] == 0 {
		t.since[i] = t.looks
	}
}

// first reports whether the j-th module comes before the i-th, or may: both are
// ready, and it stands before it.
func (t *turns) first(j, i int, phase Phase) bool {
	return t.since[j] > 0 || phase == Ready && t.looked[j] < t.since[i] && t.asked[i] < patient
}

func (t *turns) open(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opened == nil {
		t.opened = map[int]bool{}
	}
	t.opened[i] = true
}

// shut notes that the records of the i-th module are not known any more: it may
// be about to be installed, or not, and until it is opened again no other is.
func (t *turns) shut(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.opened, i)
	t.end(i)
}

// release ends the turn of the i-th module.
func (t *turns) release(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(i)
}

func (t *turns) end(i int) {
	if t.holder == i+1 {
		t.holder = 0
	}
	delete(t.since, i)
	delete(t.asked, i)
}

// claim is the turn of the i-th module, unless another is being installed or
// comes first.
func (m *Manager) claim(i int) (bool, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turns.mu.Lock()
	defer m.turns.mu.Unlock()
	for j, s := range m.board {
		switch {
		case j == i:
		case !m.turns.opened[j]:
			return false, fmt.Sprintf("how module %s stands is not known yet", s.Module)
		case s.Phase.Installs():
			return false, fmt.Sprintf("module %s is being installed", s.Module)
		case j < i && m.turns.first(j, i, s.Phase):
			return false, fmt.Sprintf("module %s comes first", s.Module)
		}
	}
	if m.turns.holder != i+1 && m.turns.holder != 0 {
		return false, fmt.Sprintf("module %s is about to be installed", m.board[m.turns.holder-1].Module)
	}
	m.turns.holder = i + 1
	return true, ""
}
