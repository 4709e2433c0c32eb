package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spoke-zone/spoke-zone-agent/conf"
)

// documents returns the pages beside the manual that are made from the code, by
// their paths below root, the repository.
func documents(root string) (map[string]string, error) {
	schema, err := statusSchema(filepath.Join(root, "agent", "local"))
	return map[string]string{"docs/settings.md": settingsPage(), "docs/status.schema.json": schema}, err
}

// settingsPage is every setting of every file, in Markdown.
func settingsPage() string {
	var b strings.Builder
	b.WriteString(`# Settings

Made by ` + "`make man`" + ` from the tables that the program itself reads with; [` + "`conf/agent.conf`" + `](../conf/agent.conf) is the same as a
file, and spoke-zone-agent.conf(5) and spoke-zone-install.conf(5) are the same as manual pages. The agent works without any of these. ` + "`spoke-zone-agent check`" + `
names every fault at once.

A daemon reads its files again when they change; settings with faults are not used, and those before stay in force.

## agent.conf

` + "`/etc/spoke-zone-agent/agent.conf`" + ` and ` + "`agent.conf.d/*.conf`" + `.
`)
	var agent, install, accounts []conf.Setting
	agent, install = conf.Settings(), conf.InstallSettings()
	for _, s := range conf.AccountSettings() {
		accounts = append(accounts, conf.Setting{Section: s.Section, Key: s.Key, Default: s.Default, Allowed: s.Allowed, Doc: s.Doc})
	}
	tables(&b, agent)
	b.WriteString("\n## accounts.d\n\n`/etc/spoke-zone-agent/accounts.d/NAME.conf`, one file an account: [accounts.md](accounts.md), [local-api.md](local-api.md).\n")
	tables(&b, accounts)
	b.WriteString("\n## install.conf\n\n`/etc/spoke-zone-agent/install.conf`, root's alone, is the policy of the privileged installer: [hooks.md](hooks.md), [signing.md](signing.md).\n")
	tables(&b, install)
	return b.String()
}

func tables(b *strings.Builder, all []conf.Setting) {
	section := ""
	for _, s := range all {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(b, "\n### [%s]\n\n| key | default | allowed | what |\n|---|---|---|---|\n", section)
		}
		def := ""
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", s.Key, cell(def), cell(s.Allowed), cell(s.Doc))
	}
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(strings.Join(strings.Fields(s), " "))
}
