package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// commands describes each command below root that does something itself.
func commands(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	each(root, func(cmd *cobra.Command) {
		_, words, _ := strings.Cut(cmd.CommandPath(), " ")
		_, arguments, _ := strings.Cut(cmd.Use, " ")
		fmt.Fprintf(&b, ".It Xo\n.Cm %s\n", words)
		for arg := range strings.FieldsSeq(arguments) {
			b.WriteString(argument(arg))
		}
		b.WriteString(".Xc\n")
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		b.WriteString(paragraph(text))
		if list := flags(cmd); list != "" {
			b.WriteString(".Pp\n" + list)
		}
	})
	b.WriteString(".El\n")
	return b.String()
}

// options describes the flags that root's commands share.
func options(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".Bl -tag -width Ds\n")
	seen := map[string]bool{}
	each(root, func(cmd *cobra.Command) {
		cmd.InheritedFlags() // cobra puts the flags together when it is asked
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if shared[f.Name] && !seen[f.Name] {
				seen[f.Name] = true
				b.WriteString(flag(f))
			}
		})
	})
	b.WriteString(".El\n")
	return b.String()
}

// shared are the flags that more than two commands have, told once.
var shared = map[string]bool{"config": true, "socket": true}

// each calls f with the commands that a person types, in the order of help.
func each(cmd *cobra.Command, f func(*cobra.Command)) {
	if !cmd.HasSubCommands() {
		f(cmd)
		return
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			each(sub, f)
		}
	}
}

// argument is one word of a usage line: [NAME], FILE... or a|b|c.
func argument(word string) string {
	if inner, ok := strings.CutPrefix(word, "["); ok {
		return ".Op Ar " + strings.TrimSuffix(inner, "]") + "\n"
	}
	if name, ok := strings.CutSuffix(word, "..."); ok {
		return ".Ar " + name + " ...\n"
	}
	return ".Cm " + strings.ReplaceAll(word, "|", " | ") + "\n"
}

// flags lists the flags of cmd, but for help and the shared ones; empty if it
// has none.
func flags(cmd *cobra.Command) string {
	var b strings.Builder
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !shared[f.Name] && f.Name != "help" {
			b.WriteString(flag(f))
		}
	})
	if b.Len() == 0 {
		return ""
	}
	return ".Bl -tag -width Ds -compact\n" + b.String() + ".El\n"
}

func flag(f *pflag.Flag) string {
	name, usage := pflag.UnquoteUsage(f)
	head := ".It Fl -" + f.Name
	if name != "" {
		head += " Ar " + name
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" {
		usage += " (default " + f.DefValue + ")"
	}
	return head + "\n" + paragraph(strings.ToUpper(usage[:1])+usage[1:]+".")
}

// settings describes every setting, section by section.
func settings(all []conf.Setting) string {
	var b strings.Builder
	section := ""
	for _, s := range all {
		if s.Section != section {
			if section != "" {
				b.WriteString(".El\n")
			}
			section = s.Section
			fmt.Fprintf(&b, ".Ss [%s]\n.Bl -tag -width Ds\n", escape(section))
		}
		fmt.Fprintf(&b, ".It Ic %s\n%s", escape(s.Key), paragraph(s.Doc))
		b.WriteString(paragraph("Allowed: " + s.Allowed + "."))
		if s.Default != "" {
			b.WriteString(paragraph("Default: " + s.Default + "."))
		}
	}
	b.WriteString(".El\n")
	return b.String()
}

// paragraph is running text, each sentence in a line of its own as mdoc(7)
// wants it.
func paragraph(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.ReplaceAll(escape(text), ". ", ".\n")
	var b strings.Builder
	for line := range strings.Lines(text + "\n") {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			b.WriteString(`\&`) // no macro
		}
		b.WriteString(line)
	}
	return b.String()
}

func escape(s string) string { return strings.ReplaceAll(s, `\`, `\e`) }
