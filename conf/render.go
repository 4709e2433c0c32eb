package conf

import "strings"

const preamble = `# Settings of spoke-zone-agent. Each one is shown with its default: take away
# the # before it to change it. Files in agent.conf.d with names that end in
# .conf are read after this one, in the order of their names; of a setting made
# several times the last one counts.
#
# Durations are written 15s, 12h or 7d, sizes 512KiB or 1MiB. A comment begins
# with # or ; at the start of a line or behind a space. A value that holds such
# a thing itself stands in quotes.
#
# spoke-zone-agent check    tells everything that is wrong here
# systemctl reload spoke-zone-agent    puts changes in force
`

const installPreamble = `# Policy of the privileged installer of spoke-zone-agent. It is root's alone:
# the daemon, which talks to the cloud, cannot change it. Each setting is shown
# with its default: take away the # before it to change it.
#
# A module is named as the cloud names it. Without a section it has the defaults
# below, and nothing is installed for it unless hooks.d holds a hook of its name.
#
# Sizes are written 512KiB or 1GiB. A comment begins with # or ; at the start of
# a line or behind a space.
#
# spoke-zone-agent doctor    tells everything that is wrong here
`

// Render returns the agent.conf that is shipped: every setting, commented out,
// with its default.
func Render() string { return render(preamble, table) }

// RenderInstall returns the install.conf that is shipped.
func RenderInstall() string { return render(installPreamble, installTable) }

func render(preamble string, table []Setting) string {
	var b strings.Builder
	b.WriteString(preamble)
	section := ""
	for _, s := range table {
		if s.Section != section {
			section = s.Section
			b.WriteString("\n")
			if s.template() {
				b.WriteString("# As many sections as needed, each with a name of its own.\n#")
			}
			b.WriteString("[" + section + "]\n")
		} else {
			b.WriteString("\n")
		}
		for _, text := range wrap(s.Doc+" Allowed: "+s.Allowed+".", 77) {
			b.WriteString("# " + text + "\n")
		}
		b.WriteString(strings.TrimRight("#"+s.Key+" = "+s.Default, " ") + "\n")
	}
	return b.String()
}

// wrap breaks text into lines of at most width bytes.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	return append(lines, line)
}
