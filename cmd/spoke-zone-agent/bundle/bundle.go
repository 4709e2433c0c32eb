// Package bundle puts together what somebody needs who helps with a gateway and
// cannot log in to it: one archive without a secret in it.
package bundle

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spoke-zone/spoke-zone-agent/agent/redact"
	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// Bounds of an archive.
const (
	maxFile  = 2 << 20 // bytes of one file
	maxTotal = 16 << 20
	maxTime  = time.Minute
)

// Name is the folder that everything in the archive is in.
const Name = "spoke-zone-support"

// readme says what is there and what is not.
const readme = "README"

// A Bundle is about one gateway.
type Bundle struct {
	ConfigPath    string
	InstallPolicy string // install.conf
	Version       string
	// Parts are texts that others know how to write. Those that the daemon has
	// to answer for are an error where it does not run.
	Parts []Part
	Now   func() time.Time

	conf   conf.Config
	known  redact.Known
	tar    *tar.Writer
	total  int64
	listed []string // what the archive has
	left   []string // what it has not, and why
}

// A Part is one file of the archive.
type Part struct {
	Name string
	Text func(ctx context.Context) (string, error)
}

// Write writes the archive to w. What cannot be read is left out, and README
// says so; an error is one of w.
func (b *Bundle) Write(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	var fault error
	b.conf, fault = conf.Load(b.ConfigPath)
	b.learn()
	zipped := gzip.NewWriter(w)
	b.tar = tar.NewWriter(zipped)
	collect := []func(context.Context) error{b.parts, b.settings, b.identity, b.states, b.journal, b.system}
	for _, part := range collect {
		if err := part(ctx); err != nil {
			return err
		}
	}
	if fault != nil {
		b.left = append(b.left, "the settings have faults, so that places may be the defaults' instead of theirs: "+fault.Error())
	}
	if err := b.add(readme, b.readme()); err != nil {
		return err
	}
	return errors.Join(b.tar.Close(), zipped.Close())
}

// Left is what the archive does not have, and why.
func (b *Bundle) Left() []string {
	left := make([]string, 0, len(b.left))
	for _, why := range b.left {
		left = append(left, b.known.Text(why))
	}
	return left
}

func (b *Bundle) parts(ctx context.Context) error {
	for _, p := range b.Parts {
		text, err := p.Text(ctx)
		if err != nil {
			b.omit(p.Name, err)
			continue
		}
		if err := b.add(p.Name, text); err != nil {
			return err
		}
	}
	return nil
}

// add is the one way into the archive: no text gets past the redaction.
func (b *Bundle) add(name, text string) error {
	text = b.known.Text(text)
	if len(text) > maxFile { // not before: the half of a secret would not be known as one
		text = "(the beginning is left out)\n" + text[len(text)-maxFile:]
	}
	if b.total+int64(len(text)) > maxTotal && name != readme {
		b.omit(name, fmt.Errorf("the archive has %d MiB already", maxTotal>>20))
		return nil
	}
	b.total += int64(len(text))
	b.listed = append(b.listed, name)
	err := b.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: Name + "/" + b.known.Text(name), Mode: 0o600, Size: int64(len(text)), ModTime: b.Now().Truncate(time.Second),
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(b.tar, text)
	return err
}

func (b *Bundle) omit(name string, why error) {
	b.left = append(b.left, name+": "+why.Error())
}

func (b *Bundle) readme() string {
	var text strings.Builder
	fmt.Fprintf(&text, "What spoke-zone-agent %s could find out for support, at %s.\n\n", b.Version, b.Now().UTC().Format(time.RFC3339))
	text.WriteString("Left out are tokens, passwords, keys, cpu_id and uuid: where one was stands " + redact.Mark + ".\n" +
		"What other programs call by names of their own cannot be known: look through it before\nyou give it away.\n\nHere are:\n")
	for _, name := range b.listed {
		text.WriteString("  " + name + "\n")
	}
	if len(b.left) > 0 {
		text.WriteString("\nMissing:\n")
	}
	for _, why := range b.left {
		text.WriteString("  " + strings.ReplaceAll(why, "\n", "; ") + "\n")
	}
	return text.String()
}
