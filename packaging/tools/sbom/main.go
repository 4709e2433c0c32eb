// Sbom prints a bill of materials of a Go program (CycloneDX 1.6, JSON): what
// is linked into it, by the build information that the Go linker left in it.
// Equal programs give equal bills.
package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom VERSION PROGRAM")
		os.Exit(64)
	}
	if err := write(os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// write prints the bill of the program at path, as of version.
func write(w io.Writer, version, path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	program := component(cdx.ComponentTypeApplication, info.Main.Path, version, "")
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &program}
	parts := []cdx.Component{component(cdx.ComponentTypeLibrary, "std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	refs := []string{parts[0].BOMRef}
	for _, module := range info.Deps {
		if module.Replace != nil && module.Replace.Sum == "" {
			continue // by a directory of the program's own
		}
		if module.Replace != nil {
			module = module.Replace
		}
		part := component(cdx.ComponentTypeLibrary, module.Path, module.Version, module.Sum)
		parts, refs = append(parts, part), append(refs, part.BOMRef)
	}
	bom.Components = &parts
	bom.Dependencies = &[]cdx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	encoder := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	return encoder.EncodeVersion(bom, cdx.SpecVersion1_6)
}

// component is a Go module as package-url names it. The sum is that of go.sum.
func component(kind cdx.ComponentType, path, version, sum string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + version
	c := cdx.Component{Type: kind, Name: path, Version: version, PackageURL: purl, BOMRef: purl}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
