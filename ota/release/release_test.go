package release

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2b"
	"pgregory.net/rapid"
)

// testKey is the n-th key of the tests.
func testKey(n byte) SecretKey {
	k := SecretKey{key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))}
	k.id[0] = n
	return k
}

// file is the text of the key's file, not encrypted.
func (k SecretKey) file() []byte {
	sum := blake2b.Sum256(slices.Concat([]byte(pureAlg), k.id[:], k.key))
	b := slices.Concat([]byte("Ed\x00\x00B2"), make([]byte, secretAt-saltAt), k.id[:], k.key, sum[:])
	return []byte("untrusted comment: a test\n" + encoding.EncodeToString(b) + "\n")
}

func (k PublicKey) file() []byte {
	b := slices.Concat([]byte(pureAlg), k.ID[:], k.key)
	return []byte("untrusted comment: a test\n" + encoding.EncodeToString(b) + "\n")
}

func digest(payload string) *Digest {
	d := NewDigest()
	d.Write([]byte(payload))
	return d
}

func sign(t testing.TB, k SecretKey, payload, module, version string, counter int64) Line {
	t.Helper()
	l, err := k.Sign(digest(payload), module, version, counter)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestASignedReleaseIsFoundAndVerified(t *testing.T) {
	k := testKey(1)
	l := sign(t, k, "the payload", "display", "1.1.0", 7)
	want := "ota1 sha256=" + digest("the payload").SHA256() + " size=11 module=display version=1.1.0 counter=7 sig="
	if !strings.HasPrefix(l.String(), want) {
		t.Errorf("line %s", l)
	}
	other := sign(t, k, "another", "app", "1.1.0", 7)
	notes := "Fixes the clock.\r\n\r\n> `" + l.String() + "`\r\n* " + other.String() + "\n"
	for range 2 { // as it is, and with wide spaces
		found, err := Find(notes, "display", "1.1.0")
		if err != nil || found.String() != l.String() {
			t.Fatalf("found %s, %v", found, err)
		}
		if err := found.VerifyPayload([]PublicKey{testKey(2).Public(), k.Public()}, digest("the payload")); err != nil {
			t.Error(err)
		}
		notes = strings.ReplaceAll(notes, " ", " \t ")
	}
}

func TestWhatIsNotSignedForThisReleaseIsRefused(t *testing.T) {
	k := testKey(1)
	keys := []PublicKey{k.Public()}
	l := sign(t, k, "the payload", "display", "1.1.0", 7)
	line := l.String()
	unsigned := l.Statement.String()
	for _, c := range []struct {
		name, notes string
		want        error
		words       string
	}{
		{"no line", "nothing to see", ErrNoLine, "no ota1 line"},
		{"another module's", strings.Replace(line, "module=display", "module=app", 1), ErrOther, "for module app, not display"},
		{"another version's", sign(t, k, "old", "display", "1.0.0", 3).String(), ErrOther, "for version 1.0.0, not 1.1.0"},
		{"renamed from another module", strings.Replace(sign(t, k, "the payload", "app", "1.1.0", 7).String(), "module=app", "module=display", 1),
			ErrSignature, "has not signed this statement"},
		{"renamed from an old release", strings.Replace(sign(t, k, "the payload", "display", "1.0.0", 7).String(), "version=1.0.0", "version=1.1.0", 1),
			ErrSignature, "has not signed this statement"},
		{"a higher counter", strings.Replace(line, "counter=7", "counter=8", 1), ErrSignature, "has not signed this statement"},
		{"another size", strings.Replace(line, "size=11", "size=12", 1), ErrPayload, "it has 11 bytes, not 12"},
		{"another digest", strings.Replace(line, "sha256=", "sha256=00", 1)[:len("ota1 sha256=")+64] + line[len("ota1 sha256=")+64:], ErrPayload, "its SHA-256 is"},
		{"a foreign key", sign(t, testKey(2), "the payload", "display", "1.1.0", 7).String(), ErrKey, "key 0000000000000002 is none of 0000000000000001"},
		{"no signature", unsigned, ErrUnsigned, "not signed"},
		{"two lines", line + "\n" + unsigned, ErrLine, "two of them for display 1.1.0"},
		{"a field twice", unsigned + " size=11", ErrLine, "size is there twice"},
		{"an unknown field", unsigned + " url=http://x", ErrLine, `no field "url"`},
		{"a path for a version", strings.Replace(unsigned, "=1.1.0", "=../1.1.0", 1), ErrLine, `holds a slash`},
		{"ten digits too many", strings.Replace(unsigned, "size=11", "size=10000000000000000", 1), ErrLine, "not 1 to 2^50"},
		{"a plus", strings.Replace(unsigned, "size=11", "size=+11", 1), ErrLine, "not a whole number above 0"},
		{"a long line", unsigned + strings.Repeat(" ", 2000) + "x", ErrLine, "more than 1024"},
	} {
		found, err := Find(c.notes, "display", "1.1.0")
		if err == nil {
			err = found.VerifyPayload(keys, digest("the payload"))
		}
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.words) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.words)
		}
	}
	if err := l.VerifyPayload(keys, digest("the pAyload")); !errors.Is(err, ErrPayload) {
		t.Errorf("another payload: %v", err)
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	k := testKey(1)
	keys := []PublicKey{k.Public()}
	line := sign(t, k, "the payload", "display", "1.1.0", 7).String()
	for i := range len(line) * 8 {
		b := []byte(line)
		b[i/8] ^= 1 << (i % 8)
		l, err := Parse(string(b))
		if err == nil {
			err = l.VerifyPayload(keys, digest("the payload"))
		}
		if err == nil && l.String() != line {
			t.Errorf("bit %d: %q is taken", i, b)
		}
	}
	public := k.Public().file()
	for i := range len(public) * 8 {
		b := bytes.Clone(public)
		b[i/8] ^= 1 << (i % 8)
		got, err := ParsePublicKey(b)
		l, _ := Parse(line)
		if err == nil && (got.ID != k.Public().ID || !got.key.Equal(k.Public().key)) && l.Verify([]PublicKey{got}) == nil {
			t.Errorf("bit %d: a line is taken with another key", i)
		}
	}
}

func TestKeysTakeTurns(t *testing.T) {
	old, next := testKey(1), testKey(2)
	both := []PublicKey{old.Public(), next.Public()}
	for _, k := range []SecretKey{old, next} {
		l := sign(t, k, "p", "m", "1", 0)
		if err := l.Verify(both); err != nil {
			t.Errorf("%v: %v", k, err)
		}
	}
	if err := sign(t, old, "p", "m", "1", 0).Verify(both[1:]); !errors.Is(err, ErrKey) {
		t.Errorf("a key that was taken away: %v", err)
	}
	if err := sign(t, old, "p", "m", "1", 0).Verify(nil); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "none of no keys") {
		t.Errorf("no keys: %v", err)
	}
}

func TestSecretKeysAreRead(t *testing.T) {
	k := testKey(3)
	got, err := ParseSecretKey(k.file(), nil)
	if err != nil || !got.key.Equal(k.key) || got.id != k.id {
		t.Errorf("%v, %v", got, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, hex.EncodeToString(k.key[:4])) || strings.Contains(text, "[") {
		t.Errorf("it prints: %s", text)
	}
	raw, _ := encoding.DecodeString(strings.Split(string(k.file()), "\n")[1])
	for _, at := range []int{0, 2, 4, secretAt + idSize, secretAt + secretSize - 40, len(raw) - 1} {
		b := bytes.Clone(raw)
		b[at] ^= 1
		if _, err := ParseSecretKey([]byte(encoding.EncodeToString(b)), []byte("x")); err == nil {
			t.Errorf("a key with byte %d changed is read", at)
		}
	}
}

func TestLinesAreReadAsTheyAreWritten(t *testing.T) {
	word := rapid.StringMatching(`[0-9A-Za-z][0-9A-Za-z._+~-]{0,20}`).Filter(func(s string) bool { return !strings.Contains(s, "..") })
	rapid.Check(t, func(t *rapid.T) {
		k := testKey(rapid.Byte().Draw(t, "key"))
		d := digest(rapid.StringN(1, 50, -1).Draw(t, "payload"))
		l, err := k.Sign(d, word.Draw(t, "module"), word.Draw(t, "version"), rapid.Int64Range(0, 1<<40).Draw(t, "counter"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(l.String())
		if err != nil || got.String() != l.String() {
			t.Fatalf("%s, %v, want %s", got, err, l)
		}
		if err := got.VerifyPayload([]PublicKey{k.Public()}, d); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzLine(f *testing.F) {
	k := testKey(1)
	f.Add(sign(f, k, "p", "m", "1", 0).String())
	f.Add("ota1 sha256= size=1 module=m version=1 sig=.")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrLine) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := Parse(l.String())
		if err != nil || again.String() != l.String() {
			t.Errorf("%q reads as %s, %v", text, again, err)
		}
		if _, err := Find(text+"\n"+text, l.Module, l.Version); err == nil && strings.TrimSpace(text) == l.String() {
			t.Error("two equal lines are taken")
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add(sign(f, testKey(1), "p", "m", "1", 0).Sig.String())
	f.Add("RWQ=.AA==")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseSignature(text); err == nil && s.String() != text {
			t.Errorf("%q reads as %s", text, s)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(testKey(1).Public().file())
	f.Add(testKey(1).file())
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := ParsePublicKey(text); err == nil {
			_ = Line{Sig: &Signature{Key: k.ID}}.Verify([]PublicKey{k})
		}
		if k, err := ParseSecretKey(text, nil); err == nil && len(k.key) != ed25519.PrivateKeySize {
			t.Errorf("a key of %d bytes", len(k.key))
		}
	})
}
