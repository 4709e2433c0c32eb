package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/spoke-zone/spoke-zone-agent/cmd/spoke-zone-agent/doctor"
)

// beside is where the text of a finding begins.
const beside = 20

func (p *Program) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := p.talks(&cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong, and how to cure it",
		Long: "Check the settings, the identity file, cpu_id and uuid with each of their sources, the\n" +
			"clock, the state directory, the way to the API and the broker, the token, the\n" +
			"daemon, the session, the spool and the installer. Each check is ok, warn or fail, and says what to\n" +
			"do. No daemon and no network are needed. The exit status is 1 if a check fails.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor.Doctor{ConfigPath: p.config, Version: p.Version, Built: p.Built, Status: p.client().Status}
			found := d.Examine(cmd.Context())
			if asJSON {
				if err := writeJSON(p.Out, diagnosis{1, doctor.Worst(found), found}); err != nil {
					return err
				}
			} else if _, err := fmt.Fprint(p.Out, findings(found, p.columns())); err != nil {
				return err
			}
			if doctor.Worst(found) == doctor.Fail {
				return silent(Ill)
			}
			return nil
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A diagnosis is what `doctor --json` prints.
type diagnosis struct {
	Schema   int              `json:"schema"`
	Verdict  doctor.Verdict   `json:"verdict"`
	Findings []doctor.Finding `json:"findings"`
}

// findings is all for people.
func findings(all []doctor.Finding, columns int) string {
	p := &page{left: beside, columns: columns}
	for _, f := range all {
		p.row(fmt.Sprintf("%-4s  %s", f.Verdict, f.Check), f.Text)
		if f.Verdict != doctor.OK {
			p.row("      cure", f.Cure)
		}
	}
	return p.String()
}
