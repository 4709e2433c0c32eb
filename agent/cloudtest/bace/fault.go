package bace

import (
	_ "time/tzdata" // machines without zoneinfo

	"github.com/spoke-zone/spoke-zone-agent/agent/cloudtest/host"
)

// The faults beside those of every cloud.
const (
	FormDataOnly   host.Fault = "form-data-only"
	TakeJSON       host.Fault = "take-json"
	RefreshExpired host.Fault = "refresh-expired"
	RefreshOnce    host.Fault = "refresh-once"
	RefreshAges    host.Fault = "refresh-ages"
	NotRefreshed   host.Fault = "not-refreshed"
	ShortRefresh   host.Fault = "short-refresh"
	Zone           host.Fault = "zone"
	YiiErrors      host.Fault = "yii-errors"
	KillOld        host.Fault = "kill-old"
)

var faults = []host.FaultInfo{
	host.Info(FormDataOnly, "refuse urlencoded bodies of the token call; default: they are taken, as PHP does", "", "", nil),
	host.Info(TakeJSON, "take JSON bodies of the token call", "", "", nil),
	host.Info(RefreshExpired, "refresh a token that has expired; default: 401", "", "", nil),
	host.Info(RefreshOnce, "take a refresh token once only", "", "", nil),
	host.Info(RefreshAges, "refuse a refresh token so long after it was issued", "duration", "336h", host.IsDuration),
	host.Info(NotRefreshed, `answer a refresh with 200 and "refreshed": false, and do nothing`, "", "", nil),
	host.Info(ShortRefresh, "let a refreshed token live so long", "duration", "1h", host.IsDuration),
	host.Info(Zone, "write expires in this zone instead of UTC", "name or offset", "Europe/Amsterdam", func(s string) error { _, err := location(s); return err }),
	host.Info(YiiErrors, "answer errors of the token call in Yii's form instead of OAuth's", "", "", nil),
	host.Info(KillOld, "let a password grant end the account's earlier tokens", "", "", nil),
}
