package cloudtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// Content is the bytes of a file. Every Open begins at the first.
type Content interface {
	Open() (io.ReadSeekCloser, error)
}

// Bytes is content in memory.
func Bytes(b []byte) Content { return memoryContent(b) }

// File is the content of a file on disk.
func File(path string) Content { return fileContent(path) }

// Seeded is size bytes that depend on the seed alone. They are made while they
// are read, so that a file of any size costs no memory and no disk.
func Seeded(seed uint64, size int64) Content { return seeded{seed, size} }

type memoryContent []byte

func (m memoryContent) Open() (io.ReadSeekCloser, error) {
	return readSeekNopCloser{bytes.NewReader(m)}, nil
}

type readSeekNopCloser struct{ io.ReadSeeker }

func (readSeekNopCloser) Close() error { return nil }

type fileContent string

func (f fileContent) Open() (io.ReadSeekCloser, error) { return os.Open(string(f)) }

type seeded struct {
	seed uint64
	size int64
}

func (s seeded) Open() (io.ReadSeekCloser, error) { return &seededReader{seeded: s}, nil }

type seededReader struct {
	seeded
	at int64
}

// word is the 8 bytes of number n: splitmix64, whose state can be computed for
// any n, which is what makes seeking free.
func (s seeded) word(n uint64) uint64 {
	z := s.seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *seededReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.size-r.at)]
	for n := 0; n < len(p); {
		w := r.word(uint64(r.at+int64(n)) / 8)
		skip := int(r.at+int64(n)) & 7
		if skip == 0 && len(p)-n >= 8 {
			binary.LittleEndian.PutUint64(p[n:], w)
			n += 8
			continue
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], w)
		n += copy(p[n:], b[skip:])
	}
	r.at += int64(len(p))
	return len(p), nil
}

func (r *seededReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the first byte")
	}
	r.at = offset
	return offset, nil
}

func (r *seededReader) Close() error { return nil }

// Digest returns the size and the SHA-256, in hexadecimal, of content.
func Digest(content Content) (size int64, sum string, err error) {
	r, err := content.Open()
	if err != nil {
		return 0, "", fmt.Errorf("open content: %w", err)
	}
	defer r.Close()
	h := sha256.New()
	size, err = io.Copy(h, r)
	if err != nil {
		return 0, "", fmt.Errorf("read content: %w", err)
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

// tag identifies content for an ETag without reading all of it: its size, its
// first bytes and its last.
func tag(r io.ReadSeeker) (string, error) {
	h := fnv.New64a()
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	for _, from := range []int64{0, max(0, size-4096)} {
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			return "", err
		}
		if _, err := io.CopyN(h, r, 4096); err != nil && err != io.EOF {
			return "", err
		}
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x-%x", size, h.Sum64()), nil
}
