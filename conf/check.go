package conf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// baseURL is where HTTP requests go: their paths are appended to it.
type baseURL struct{ p *string }

func (v baseURL) text() string { return *v.p }

func (v baseURL) parse(s string) error {
	u, err := parseURL(s, "https", "http")
	if err != nil {
		return err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return errors.New("has a query")
	}
	*v.p = strings.TrimRight(s, "/")
	return nil
}

type brokerURL struct{ p *string }

func (v brokerURL) text() string { return *v.p }

func (v brokerURL) parse(s string) error {
	u, err := parseURL(s, "mqtts", "mqtt")
	if err != nil {
		return err
	}
	if strings.TrimRight(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery {
		return errors.New("has a path or a query")
	}
	*v.p = strings.TrimRight(s, "/")
	return nil
}

// parseURL reads s, whose scheme must be the safe one, or the plain one when
// what it names is this machine.
func parseURL(s, safe, plain string) (*url.URL, error) {
	if s == "" {
		return nil, errEmpty
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > 1024 || !printable(s):
		return nil, fmt.Errorf("%s is not a URL", short(s))
	case u.Scheme != safe && u.Scheme != plain:
		return nil, fmt.Errorf("%s does not begin with %s://", short(s), safe)
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("names no host")
	case u.User != nil:
		return nil, errors.New("holds a user name")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errors.New("has a fragment")
	case u.Scheme == plain && !loopback(u.Hostname()):
		return nil, fmt.Errorf("%s:// would send the token to %s in the clear", plain, u.Hostname())
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("has the port %s", short(port))
		}
	}
	return u, nil
}

func loopback(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

var (
	moduleKey   = newForm(64, `^[a-z0-9-]+$`)
	commandName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
	collectName = newForm(64, `^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	unitMatch   = newForm(255, `^[A-Za-z0-9:_.@*?\\][A-Za-z0-9:_.@*?\\-]*$`)
	groupName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$`)
	nmeaSource  = regexp.MustCompile(`^nmea:/[^@]+@[0-9]{3,7}$`)
	timeSpan    = regexp.MustCompile(`^(\d\d:\d\d)-(\d\d:\d\d)$`)
)

const (
	collectAllowed = "letters, digits and ._-, at most 64"
	moduleAllowed  = "lowercase letters, digits and hyphens, at most 64"
	commandAllowed = "letters, digits and ._- between slashes, at most 128"
)

func checkDeviceID(s string) error {
	if n, err := strconv.ParseUint(s, 10, 63); err != nil || n == 0 || s[0] == '+' {
		return fmt.Errorf("%s is not one", short(s))
	}
	return nil
}

func checkModuleKey(s string) error {
	if !moduleKey.MatchString(s) {
		return fmt.Errorf("%s is no key of a module", short(s))
	}
	return nil
}

func checkRecorded(s string) error {
	if !slices.Contains([]string{"journal", "dmesg", "debug"}, s) {
		return fmt.Errorf("%s is none of journal, dmesg and debug", short(s))
	}
	return nil
}

func checkUnit(s string) error {
	if !unitMatch.MatchString(s) {
		return fmt.Errorf("%s is no name of a unit", short(s))
	}
	return nil
}

func checkClaim(s string) error {
	if s == "" || len(s) > 128 || !printable(s) {
		return fmt.Errorf("%s is no name of a claim", short(s))
	}
	return nil
}

func checkTopicBase(s string) error {
	switch {
	case strings.ContainsAny(s, "+#"):
		return fmt.Errorf("%s holds a wildcard", short(s))
	case strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/"):
		return fmt.Errorf("%s begins or ends with a slash", short(s))
	}
	return nil
}

// checkFilter keeps MQTT 3.1.1 section 4.7.1: a + fills its level, a # also
// ends the filter.
func checkFilter(s string) error {
	if s == "" || len(s) > 1024 || !printable(s) {
		return fmt.Errorf("%s is no topic filter", short(s))
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		if len(l) > 1 && strings.ContainsAny(l, "+#") || l == "#" && i < len(levels)-1 {
			return fmt.Errorf("%s has a wildcard in the wrong place", short(s))
		}
	}
	return nil
}

// bridgeWord is what a topic may hold in a bridge's settings: Mosquitto parts
// words at spaces and gives "" a meaning.
var bridgeWord = regexp.MustCompile(`^[A-Za-z0-9_.+#/-]+$`)

// checkBridgeFilter keeps a filter below the topic base, and away from $SYS.
func checkBridgeFilter(s string) error {
	if !bridgeWord.MatchString(s) || strings.HasPrefix(s, "/") {
		return fmt.Errorf("%s is no filter for a bridge", short(s))
	}
	return checkFilter(s)
}

func checkBridgePrefix(s string) error {
	if !bridgeWord.MatchString(s) || strings.ContainsAny(s, "+#") || strings.HasPrefix(s, "/") || !strings.HasSuffix(s, "/") {
		return fmt.Errorf("%s is none", short(s))
	}
	return nil
}

// checkPattern wants an absolute path whose parts are what path.Match takes.
func checkPattern(s string) error {
	switch {
	case !path.IsAbs(s) || path.Clean(s) != s || s == "/":
		return fmt.Errorf("%s is no absolute path of files", short(s))
	case len(s) > 1024 || !printable(s):
		return fmt.Errorf("%s is too long or does not print", short(s))
	}
	for _, part := range strings.Split(s, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Errorf("%s is no pattern", short(s))
		}
	}
	return nil
}

func checkLocationSource(s string) error {
	if slices.Contains([]string{"auto", "gpsd", "off"}, s) || nmeaSource.MatchString(s) {
		return nil
	}
	if addr, ok := strings.CutPrefix(s, "gpsd:"); ok {
		if _, port, err := net.SplitHostPort(addr); strings.HasPrefix(addr, "/") || err == nil && port != "" {
			return nil
		}
	}
	return fmt.Errorf("%s is no source", short(s))
}

func checkGroup(s string) error {
	if !groupName.MatchString(s) {
		return fmt.Errorf("%s is no group's name", short(s))
	}
	return nil
}

// checkWindow wants spans of time, each with the days before it that it is
// for: "01:00-05:00, Sat,Sun 00:00-06:00". A span may pass midnight.
func checkWindow(s string) error {
	days := 0
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		span := timeSpan.FindStringSubmatch(w)
		switch {
		case span != nil && clockTime(span[1]) && clockTime(span[2]) && span[1] != span[2]:
			days = 0
		case span == nil && weekdays(w):
			days++
		default:
			return fmt.Errorf("%s is neither a day nor a span of time", short(w))
		}
	}
	if days > 0 {
		return fmt.Errorf("%s ends in a day without a time", short(s))
	}
	return nil
}

func clockTime(s string) bool {
	_, err := time.Parse("15:04", s)
	return err == nil || s == "24:00"
}

// weekdays reports Sat, or Mon-Fri.
func weekdays(s string) bool {
	for _, d := range strings.SplitN(s, "-", 2) {
		if !slices.Contains([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, strings.ToLower(d)) {
			return false
		}
	}
	return true
}
