package subscription

// The providers' words for how a subscription stands, in ours. A word that is not here is shown as
// it is in ProviderStatus, and means Incomplete: it gives nobody a plan, and takes none for canceled.

// FromStripe is what Stripe's status means.
func FromStripe(status string) Status {
	switch status {
	case "active":
		return Active
	case "trialing":
		return Trialing
	case "past_due":
		return PastDue
	case "unpaid":
		return Unpaid
	case "paused":
		return Paused
	case "canceled", "incomplete_expired":
		return Canceled
	default:
		return Incomplete
	}
}

// FromPayPal is what PayPal's status means.
func FromPayPal(status string) Status {
	switch status {
	case "ACTIVE":
		return Active
	case "SUSPENDED":
		return Paused
	case "CANCELLED", "EXPIRED":
		return Canceled
	default: // APPROVAL_PENDING, APPROVED
		return Incomplete
	}
}
