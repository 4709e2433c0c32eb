package mqtt

import "testing"

// TestAMessageSentAgainIsQueuedOnce: at a takeover the old connection and the
// new one are read at once.
func TestAMessageSentAgainIsQueuedOnce(t *testing.T) {
	type sent struct {
		on    uint64
		id    uint16
		again bool
		text  string
		full  bool // there is no room
		want  bool // queued
	}
	for name, list := range map[string][]sent{
		"on the next connection":        {{1, 5, false, "x", false, true}, {2, 5, true, "x", false, false}},
		"and on the one after":          {{1, 5, false, "x", false, true}, {2, 5, true, "x", false, false}, {3, 5, true, "x", false, false}},
		"the second time came first":    {{2, 5, true, "x", false, true}, {1, 5, false, "x", false, false}},
		"there was no room for it":      {{1, 5, false, "x", true, false}, {2, 5, true, "x", false, true}},
		"the first was never read":      {{2, 5, true, "x", false, true}},
		"another under its packet id":   {{1, 5, false, "x", false, true}, {2, 5, true, "y", false, true}},
		"the same words, once more":     {{1, 5, false, "x", false, true}, {1, 6, false, "x", false, true}},
		"the id is given away again":    {{2, 5, true, "x", false, true}, {2, 5, false, "x", false, true}},
		"and on a later connection too": {{2, 5, true, "x", false, true}, {3, 5, false, "x", false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var r recent
			for i, s := range list {
				known, queued := r.once(s.on, s.id, s.again, Message{Topic: "ctrl/x", Payload: []byte(s.text)}, func() bool { return !s.full })
				if queued != s.want || known != (!s.want && !s.full) {
					t.Errorf("message %d: known %v, queued %v", i, known, queued)
				}
			}
		})
	}
}
