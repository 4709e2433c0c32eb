package local

import "time"

// accounts writes the metrics of every account, the device's own among them,
// and of their deliveries. cloud is now by the cloud's clock.
func (m *metricsText) accounts(all []Account, cloud time.Time) {
	for _, a := range all {
		for _, s := range tokenStates {
			m.gauge("account_state", "1 for the state that the account's token is in.", truth(a.State == s), "account", a.Account, "state", s)
		}
	}
	for _, a := range all {
		m.until("account_expires_seconds", "Until the account's token expires.", a.Expires, cloud, "account", a.Account)
	}
	for _, a := range all {
		m.until("account_point_of_no_return_seconds", "Until the cloud renews the account's token no more.", a.PointOfNoReturn, cloud, "account", a.Account)
	}
	for _, a := range all {
		m.counter("account_renewals_total", "Renewals of the account's token since the start.", float64(a.Renewals), "account", a.Account)
	}
	for _, a := range all {
		m.gauge("account_failures", "Attempts to renew the account's token that failed in a row.", float64(a.Attempt), "account", a.Account)
	}
	for _, a := range all {
		m.gauge("account_stored", "1 while the state directory holds the account's newest token.", truth(a.Stored), "account", a.Account)
	}
	for _, a := range all {
		m.gauge("account_needs_login", "1 while a person must log in.", truth(a.NeedsLogin), "account", a.Account)
	}
	for _, a := range all {
		for _, d := range a.Deliveries {
			m.gauge("delivery_failed", "1 while the token does not reach the program that it is delivered to.", truth(d.State == "failing"), "account", a.Account, "delivery", d.ID)
		}
	}
}
