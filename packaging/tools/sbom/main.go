// Sbom prints a bill of materials of a Go program (CycloneDX 1.6, JSON): which
// program it is, by its hash and what it was built for, which packages carry
// it, and what is linked into it, by the build information that the Go linker
// left in it. Equal files give equal bills.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// developers supply the program and write its bill.
const developers = "Spoke Zone Agent Developers"

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: SOURCE_DATE_EPOCH=SECONDS sbom VERSION PROGRAM [PACKAGE...]")
		os.Exit(64)
	}
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		err = errors.New("SOURCE_DATE_EPOCH must tell the time of the source")
	} else {
		err = write(os.Stdout, time.Unix(seconds, 0), os.Args[1], os.Args[2], os.Args[3:]...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// write prints the bill of the program at path, as of version and built, and
// of the packages that carry it.
func write(w io.Writer, built time.Time, version, path string, packages ...string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	program, err := describe(info, version, path)
	if err != nil {
		return err
	}
	if err := carry(&program, packages); err != nil {
		return err
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = serial(program)
	bom.Metadata = &cdx.Metadata{
		Timestamp: built.UTC().Format(time.RFC3339), Component: &program,
		Supplier: &cdx.OrganizationalEntity{Name: developers}, Authors: &[]cdx.OrganizationalContact{{Name: developers}},
	}
	parts, refs := linked(info)
	bom.Components = &parts
	bom.Dependencies = &[]cdx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	encoder := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	return encoder.EncodeVersion(bom, cdx.SpecVersion1_6)
}

// describe is the program itself: its hash, and what it was built for and how,
// under the names that CycloneDX has registered for Go, where it has one.
func describe(info *buildinfo.BuildInfo, version, path string) (cdx.Component, error) {
	program := component(cdx.ComponentTypeApplication, info.Main.Path, "v"+version, "")
	program.Name, program.Version = filepath.Base(path), version
	properties := []cdx.Property{{Name: "cdx:gomod:build:env:GOVERSION", Value: info.GoVersion}}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
		switch {
		case s.Key == "-tags":
			properties = append(properties, cdx.Property{Name: "cdx:gomod:build:tag", Value: s.Value})
		case strings.HasPrefix(s.Key, "GO"), strings.HasPrefix(s.Key, "CGO_"):
			properties = append(properties, cdx.Property{Name: "cdx:gomod:build:env:" + s.Key, Value: s.Value})
		}
	}
	program.PackageURL += "?goarch=" + settings["GOARCH"] + "&goos=" + settings["GOOS"]
	program.BOMRef = program.PackageURL
	program.Properties = &properties
	program.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}
	hashes, err := sums(path)
	program.Hashes = hashes
	return program, err
}

// carry names the packages that hold the program, by their hashes: the bill
// lies beside them, so that there is no circle. The tilde of a candidate is a
// dot in the names of released files.
func carry(program *cdx.Component, packages []string) error {
	var found []cdx.ExternalReference
	for _, path := range packages {
		hashes, err := sums(path)
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(filepath.Base(path), "~", ".")
		found = append(found, cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: name, Hashes: hashes})
	}
	if found != nil {
		program.ExternalReferences = &found
	}
	return nil
}

// linked are the standard library and the modules in the program, and their
// references.
func linked(info *buildinfo.BuildInfo) (parts []cdx.Component, refs []string) {
	parts = append(parts, component(cdx.ComponentTypeLibrary, "std", strings.TrimPrefix(info.GoVersion, "go"), ""))
	for _, module := range info.Deps {
		if module.Replace != nil && module.Replace.Sum == "" {
			continue // by a directory of the program's own
		}
		if module.Replace != nil {
			module = module.Replace
		}
		parts = append(parts, component(cdx.ComponentTypeLibrary, module.Path, module.Version, module.Sum))
	}
	for _, part := range parts {
		refs = append(refs, part.BOMRef)
	}
	return parts, refs
}

// component is a Go module as package-url names it. The sum is that of go.sum.
func component(kind cdx.ComponentType, path, version, sum string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	c := cdx.Component{Type: kind, Name: path, Version: version, PackageURL: purl, BOMRef: purl}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}

func sums(path string) (*[]cdx.Hash, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return nil, err
	}
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum.Sum(nil))}}, nil
}

// serial is the bill's number, made of the hashes of the files that it
// describes: another file has another number, and the same files the same.
func serial(program cdx.Component) string {
	name := (*program.Hashes)[0].Value
	if program.ExternalReferences != nil {
		for _, r := range *program.ExternalReferences {
			name += (*r.Hashes)[0].Value
		}
	}
	id := sha256.Sum256([]byte(program.BOMRef + "#" + name))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8 of RFC 9562: of one's own making
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
