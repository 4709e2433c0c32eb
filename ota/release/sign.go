package release

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/scrypt"
)

// A SecretKey makes signatures. It does not print.
type SecretKey struct {
	id  KeyID
	key ed25519.PrivateKey
}

// String hides the key.
func (k SecretKey) String() string { return "secret key " + k.id.String() }

// GoString hides the key.
func (k SecretKey) GoString() string { return k.String() }

// Errors of ParseSecretKey.
var (
	ErrPassphrase = errors.New("wrong passphrase")
	ErrEncrypted  = errors.New("the key is encrypted")
)

// Parts of a secret key's file: algorithms, salt and limits of the key
// derivation; key's number, key and checksum, encrypted.
const (
	saltAt, opsAt, memAt, secretAt = 6, 38, 46, 54
	secretSize                     = idSize + ed25519.PrivateKeySize + blake2b.Size256
	maxMemory                      = 1 << 30 // what minisign asks for
)

// ParseSecretKey reads the text of a minisign secret key's file. A key that is
// not encrypted needs no passphrase; for one that is, ErrEncrypted asks for it.
func ParseSecretKey(text, passphrase []byte) (SecretKey, error) {
	line, err := keyLine(text)
	if err != nil {
		return SecretKey{}, err
	}
	b, err := encoding.DecodeString(line)
	switch {
	case err != nil:
		return SecretKey{}, errors.New("no minisign secret key: it is not in base64")
	case len(b) != secretAt+secretSize:
		return SecretKey{}, fmt.Errorf("no minisign secret key: it has %d bytes, not %d", len(b), secretAt+secretSize)
	case string(b[:2]) != pureAlg || string(b[4:6]) != "B2":
		return SecretKey{}, errors.New("no minisign secret key: its algorithms are not Ed25519 and BLAKE2b")
	}
	secret := slices.Clone(b[secretAt:])
	encrypted := string(b[2:4]) == "Sc"
	switch {
	case encrypted && passphrase == nil:
		return SecretKey{}, ErrEncrypted
	case encrypted:
		mask, err := derive(passphrase, b)
		if err != nil {
			return SecretKey{}, err
		}
		for i := range secret {
			secret[i] ^= mask[i]
		}
	case string(b[2:4]) != "\x00\x00":
		return SecretKey{}, fmt.Errorf("no minisign secret key: its key derivation is %q, not scrypt", b[2:4])
	}
	k := SecretKey{key: secret[idSize : idSize+ed25519.PrivateKeySize]}
	copy(k.id[:], secret)
	// minisign leaves the checksum of a key out that it does not encrypt.
	sum, is := blake2b.Sum256(slices.Concat(b[:2], secret[:idSize+ed25519.PrivateKeySize])), secret[idSize+ed25519.PrivateKeySize:]
	switch {
	case bytes.Equal(sum[:], is):
	case encrypted:
		return SecretKey{}, ErrPassphrase
	case !bytes.Equal(is, make([]byte, len(is))):
		return SecretKey{}, errors.New("no minisign secret key: its checksum does not match")
	}
	if !k.key.Equal(ed25519.NewKeyFromSeed(k.key.Seed())) {
		return SecretKey{}, errors.New("no minisign secret key: its halves do not belong together")
	}
	return k, nil
}

// derive is scrypt with parameters from the limits in the file, as libsodium's
// crypto_pwhash_scryptsalsa208sha256 picks them.
func derive(passphrase, file []byte) ([]byte, error) {
	ops, memory := binary.LittleEndian.Uint64(file[opsAt:]), binary.LittleEndian.Uint64(file[memAt:])
	const r = 8
	if memory > maxMemory || ops > maxMemory {
		return nil, fmt.Errorf("the key derivation asks for %d bytes and %d steps, more than %d", memory, ops, maxMemory)
	}
	ops = max(ops, 32768)
	most := memory / (r * 128)
	if ops < memory/32 {
		most = ops / (r * 4)
	}
	log := 1
	for log < 62 && uint64(1)<<log <= most/2 {
		log++
	}
	p := uint64(1)
	if ops >= memory/32 {
		p = max(1, ops/4>>log/r)
	}
	return scrypt.Key(passphrase, file[saltAt:opsAt], 1<<log, r, int(p), secretSize)
}

// Sign states what the payload is that d has taken, and signs it.
func (k SecretKey) Sign(d *Digest, module, version string, counter int64) (Line, error) {
	l := Line{Statement: Statement{SHA256: d.SHA256(), Size: d.Size(), Module: module, Version: version, Counter: counter}}
	if err := l.Check(); err != nil {
		return Line{}, err
	}
	s := &Signature{Key: k.id}
	copy(s.payload[:], ed25519.Sign(k.key, d.blake.Sum(nil)))
	copy(s.whole[:], ed25519.Sign(k.key, append(slices.Clone(s.payload[:]), l.Statement.String()...)))
	l.Sig = s
	return l, nil
}

// Public is the key that checks what k signs.
func (k SecretKey) Public() PublicKey {
	return PublicKey{ID: k.id, key: ed25519.PublicKey(k.key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])}
}
