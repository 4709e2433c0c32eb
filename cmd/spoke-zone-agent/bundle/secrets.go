package bundle

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent"
	"github.com/spoke-zone/spoke-zone-agent/agent/atomicfile"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// credentials is where systemd puts those of the daemon's unit.
const credentials = "/run/credentials/spoke-zone-agent.service"

// maxSecrets bounds the files that are looked into for secrets.
const maxSecrets = 1000

// learn makes the values of all secrets known that can be read, so that they
// are found wherever they turn up.
func (b *Bundle) learn() {
	c := b.conf
	id, _ := conf.ReadIdentity(c.Paths.Identity) // what it has, even if a token is missing
	for _, value := range []string{id.Token, id.Password, id.CPUID, id.UUID, c.Identity.CPUID, c.Identity.UUID} {
		b.known.Add(value)
	}
	for _, s := range agent.Sources(c.Identity, id, agent.Recall(c.Paths.State), "") {
		b.known.Add(s.Value)
	}
	b.learnLines(c.Paths.Identity)
	accounts, _ := conf.LoadAccounts(c.Paths.Accounts) // those with faults are left to learnLines
	for _, a := range accounts {
		b.known.Add(a.ClientID)
		for _, s := range []conf.Secret{a.Password, a.ClientSecret, a.APIKey} {
			if value, err := s.Read(credentials); err == nil {
				b.known.Add(value)
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(c.Paths.Accounts, "*"))
	for _, name := range files {
		b.learnLines(name)
	}
	b.learnRecords(filepath.Join(c.Paths.State, "cred"))
	files, _ = filepath.Glob(filepath.Join(credentials, "*"))
	for _, name := range files {
		if data, err := head(name); err == nil {
			b.known.Add(data)
		}
	}
}

// secretKeys are what a setting or a field is called whose value is secret.
var secretKeys = []string{"token", "passw", "secret", "key", "username", "cpu", "uuid", "serial", "cur", "next"}

func secretKey(key string) bool {
	key = strings.ToLower(key)
	for _, part := range secretKeys {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}

// learnLines makes known what stands behind the names of secrets in a file of
// settings, and in the file that such a setting names.
func (b *Bundle) learnLines(name string) {
	data, err := head(name)
	if err != nil {
		return
	}
	for line := range strings.Lines(data) {
		key, value, ok := strings.Cut(strings.TrimLeft(strings.TrimSpace(line), "#; "), "=")
		if !ok || !secretKey(key) {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		if strings.HasSuffix(strings.TrimSpace(key), "_file") && filepath.IsAbs(value) {
			if inner, err := head(value); err == nil {
				b.known.Add(inner)
			}
			continue
		}
		b.known.Add(value)
	}
}

// learnRecords makes the tokens known that are in the records below dir.
func (b *Bundle) learnRecords(dir string) {
	files := 0
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if files++; files > maxSecrets {
			return fs.SkipAll
		}
		if err != nil || e.IsDir() {
			return nil
		}
		data, err := head(path)
		if err != nil {
			return nil
		}
		line, _ := atomicfile.Unseal([]byte(data)) // a damaged one has tokens too
		var v any
		if json.Unmarshal(line, &v) == nil {
			b.learnValues("", v)
			return nil
		}
		b.known.Add(data)
		return nil
	})
}

// learnValues makes the strings in v known, as far as their names are those of
// secrets.
func (b *Bundle) learnValues(key string, v any) {
	switch v := v.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, v); err != nil && secretKey(key) {
			b.known.Add(v)
		}
	case []any:
		for _, item := range v {
			b.learnValues(key, item)
		}
	case map[string]any:
		for k, item := range v {
			b.learnValues(k, item)
		}
	}
}

// head is the beginning of a file, no more than a record or settings may have.
func head(name string) (string, error) {
	const most = 256 << 10
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	return readSome(name, most)
}
