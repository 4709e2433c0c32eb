package redact

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// shortest is how long a known value must be to be looked for in any text. A
// shorter one would be found everywhere; it is taken out by its name alone.
const shortest = 4

// Known are values that are known to be secret. The zero value has none.
type Known struct {
	values map[string]bool
	find   *strings.Replacer // of all values; nil: to be made
}

// Add makes value one of them, as it is and as it may be written elsewhere.
func (k *Known) Add(value string) {
	value = strings.TrimSpace(value)
	if len(value) < shortest || k.values[value] {
		return
	}
	if k.values == nil {
		k.values = map[string]bool{}
	}
	k.find = nil
	k.values[value] = true
	for _, part := range strings.Split(value, "\n") {
		if part != value {
			k.Add(part) // where each line of it has something before it
		}
	}
	quoted, _ := json.Marshal(value) // a string always can be
	bytes := []byte(value)
	for _, written := range []string{
		inner(string(quoted)), inner(strconv.Quote(value)), inner(strconv.QuoteToASCII(value)),
		url.QueryEscape(value), url.PathEscape(value), hex.EncodeToString(bytes),
		base64.StdEncoding.EncodeToString(bytes), base64.RawStdEncoding.EncodeToString(bytes),
		base64.URLEncoding.EncodeToString(bytes), base64.RawURLEncoding.EncodeToString(bytes),
	} {
		k.values[written] = true
	}
}

// inner is a quoted text without its quotation marks.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// Text is s without them, and without what looks like a secret.
func (k *Known) Text(s string) string {
	if k.find == nil {
		all := make([]string, 0, len(k.values))
		for v := range k.values {
			all = append(all, v)
		}
		slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
		pairs := make([]string, 0, 2*len(all))
		for _, v := range all {
			pairs = append(pairs, v, Mark)
		}
		k.find = strings.NewReplacer(pairs...)
	}
	return Text(k.find.Replace(s))
}
