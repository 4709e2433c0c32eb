package local

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What Prometheus and a text collector add to each sample.
var scraperLabels = []string{"instance", "job"}

var (
	metricName = regexp.MustCompile(`spoke_zone_agent_[a-z_]+(\{[^}]*\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	legend     = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	onLabels   = regexp.MustCompile(`on \(([^)]*)\)`)
)

// printed is what /metrics prints of a status with everything in it: the labels
// of each name, and their values.
func printed(t *testing.T) map[string]map[string][]string {
	var s Status
	fill(reflect.ValueOf(&s).Elem())
	s.Accounts[0].Account = DeviceAccount
	values, names := samples(t, string(Metrics(s, noon)))
	all := map[string]map[string][]string{}
	for _, name := range names {
		all[name] = map[string][]string{}
	}
	for sample := range values {
		name, labels, _ := strings.Cut(sample, "{")
		for _, m := range matcher.FindAllStringSubmatch(labels, -1) {
			all[name][m[1]] = append(all[name][m[1]], m[3])
		}
	}
	return all
}

// checkExpression wants every name, label and fixed value of a label in expr to
// be one that is printed.
func checkExpression(t *testing.T, known map[string]map[string][]string, where, expr string) {
	t.Helper()
	found := metricName.FindAllStringSubmatch(expr, -1)
	if len(found) == 0 || strings.Count(expr, "(") != strings.Count(expr, ")") {
		t.Errorf("%s: %s is no expression about the agent", where, expr)
	}
	for _, m := range found {
		name := strings.TrimSuffix(m[0], m[1])
		labels, ok := known[name]
		if !ok {
			t.Errorf("%s: the agent prints no %s", where, name)
		}
		for _, l := range matcher.FindAllStringSubmatch(m[1], -1) {
			if slices.Contains(scraperLabels, l[1]) {
				continue
			}
			for value := range strings.SplitSeq(l[3], "|") {
				if !slices.Contains(labels[l[1]], value) {
					t.Errorf("%s: the agent prints no %s with %s=%q", where, name, l[1], value)
				}
			}
		}
		for _, on := range onLabels.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(on[1], ", ") {
				if !slices.Contains(scraperLabels, label) && labels[label] == nil {
					t.Errorf("%s: %s has no label %s", where, name, label)
				}
			}
		}
	}
}

func TestTheExampleAlertsAreOfMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("../../docs/examples/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	known, seen := printed(t), map[string]bool{}
	_, rules, _ := strings.Cut(string(text), "rules:\n")
	for rule := range strings.SplitSeq(strings.TrimPrefix(rules, "      - "), "\n      - ") {
		field := map[string]string{}
		for line := range strings.Lines(rule) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			field[strings.TrimSuffix(key, ":")] = value
		}
		name := field["alert"]
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		checkExpression(t, known, name, field["expr"])
		if !regexp.MustCompile(`^(critical|warning|info)$`).MatchString(field["severity"]) || !regexp.MustCompile(`^\d+[mh]$`).MatchString(field["for"]) ||
			field["summary"] == "" || !strings.HasPrefix(field["command"], "spoke-zone-agent ") {
			t.Errorf("%s lacks a severity, a time, a summary or a command: %v", name, field)
		}
	}
	if len(seen) < 15 {
		t.Errorf("%d alerts", len(seen))
	}
}

func TestTheExampleDashboardIsOfMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("../../docs/examples/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID        string
		Templating struct {
			List []struct{ Name, Query string }
		}
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Datasource  struct{ UID string }
			Targets     []struct{ RefID, Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	known, ids, cells, asked := printed(t), map[int]bool{}, map[[2]int]bool{}, 0
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("%s: panel %d is there twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if cells[[2]int{x, y}] || x >= 24 {
					t.Fatalf("%s overlaps another panel, or the edge", p.Title)
				}
				cells[[2]int{x, y}] = true
			}
		}
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("%s asks nothing, or of a fixed source", p.Title)
		}
		for _, target := range p.Targets {
			asked++
			checkExpression(t, known, p.Title, target.Expr)
			labels := known[strings.TrimSuffix(metricName.FindStringSubmatch(target.Expr)[0], metricName.FindStringSubmatch(target.Expr)[1])]
			for _, l := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(scraperLabels, l[1]) && labels[l[1]] == nil {
					t.Errorf("%s: the legend has a label %s that is not printed", p.Title, l[1])
				}
			}
		}
	}
	for _, v := range dashboard.Templating.List {
		if strings.Contains(v.Query, "spoke_zone") {
			checkExpression(t, known, v.Name, v.Query)
		}
	}
	if asked < 20 || dashboard.UID == "" {
		t.Errorf("the dashboard %q asks %d things", dashboard.UID, asked)
	}
}
