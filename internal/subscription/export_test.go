package subscription

// KeepPaid is keepPaid for tests.
func KeepPaid(read Subscription, before *Subscription) Subscription { return keepPaid(read, before) }
