package console

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// luminance is that of a colour #rgb or #rrggbb, as WCAG 2 has it.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	digits := strings.TrimPrefix(colour, "#")
	if len(digits) == 3 {
		digits = digits[0:1] + digits[0:1] + digits[1:2] + digits[1:2] + digits[2:3] + digits[2:3]
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// TestColoursCanBeToldApart holds the colours of day and night to WCAG AA: 4.5
// for text, 3 for the edges of what can be operated and for the bar.
func TestColoursCanBeToldApart(t *testing.T) {
	css, err := web.ReadFile("web/style.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`:root \{([^}]*)\}`).FindAllStringSubmatch(string(css), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d palettes; want one for day and one for night", len(blocks))
	}
	for i, scheme := range []string{"light", "dark"} {
		colours := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]+);`).FindAllStringSubmatch(blocks[i][1], -1) {
			colours[m[1]] = m[2]
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "paper", 4.5}, {"ink", "panel", 4.5}, {"ink", "sunk", 4.5}, {"ink", "tint", 4.5},
			{"soft", "paper", 4.5}, {"soft", "panel", 4.5}, {"soft", "sunk", 4.5},
			{"accent", "panel", 4.5}, {"accent", "paper", 4.5}, {"on-accent", "accent", 4.5},
			{"bad", "panel", 4.5}, {"bad", "paper", 4.5}, {"paper", "ink", 4.5},
			{"edge", "panel", 3}, {"edge", "paper", 3}, {"edge", "sunk", 3}, {"accent", "sunk", 3},
		} {
			a, b := luminance(t, colours[pair.front]), luminance(t, colours[pair.back])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < pair.least {
				t.Errorf("%s: %s on %s: %.2f to 1, want %.1f", scheme, pair.front, pair.back, ratio, pair.least)
			}
		}
	}
}
