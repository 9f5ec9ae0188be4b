package payout

import "slices"

// Reason is a stable code for why a payee is not paid, or not so. Apps may rely on it; people read
// its Sentence.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	BecauseNotCompliant     Reason = "not_compliant"
	BecausePausedByOperator Reason = "paused_by_operator"
	BecausePausedByProvider Reason = "paused_by_provider"
	BecausePausedBySystem   Reason = "paused_by_system"
	BecausePausedByPayee    Reason = "paused_by_payee"

	BecauseNotDue     Reason = "not_due"
	BecauseOpenPayout Reason = "open_payout"

	BecauseCurrencyNotPaidOut Reason = "currency_not_paid_out"
	BecauseCurrencyMismatch   Reason = "currency_mismatch"
	BecauseAmountNotPositive  Reason = "amount_not_positive"
	BecauseBalanceNegative    Reason = "balance_negative"
	BecauseNothingToPay       Reason = "nothing_to_pay"
	BecauseAboveAvailable     Reason = "above_available"
	BecauseBelowMinimum       Reason = "below_minimum"
	BecauseAboveLimit         Reason = "above_limit"
	BecauseNotAStep           Reason = "not_a_step"

	BecauseInstantNotOnRail     Reason = "instant_not_on_rail"
	BecauseInstantNotInCurrency Reason = "instant_not_in_currency"
	BecauseInstantNotInCountry  Reason = "instant_not_in_country"
	BecauseInstantNotOffered    Reason = "instant_not_offered"
	BecauseInstantNotYet        Reason = "instant_not_yet"
	BecauseDestinationChanged   Reason = "destination_changed"
	BecauseInstantRefused       Reason = "instant_refused"

	BecauseNoDestination        Reason = "no_destination"
	BecauseDestinationUnchecked Reason = "destination_unchecked"
	BecauseScheduleNotManual    Reason = "schedule_not_manual"
	BecausePayoutsDisabled      Reason = "payouts_disabled"
	BecauseExternalErrored      Reason = "external_account_errored"
	BecauseAccountNegative      Reason = "account_balance_negative"
	BecauseEmailNotASCII        Reason = "paypal_email_not_ascii"
	BecausePayPalNotInCurrency  Reason = "paypal_not_in_currency"

	// BecauseFunding is given by the run, when the platform's funds do not reach as far as this payee.
	BecauseFunding Reason = "funding"
)

// explanation is a reason with what it means for people.
type explanation struct {
	reason   Reason
	sentence string
}

// explanations are in the order in which the reasons are looked for.
func explanations() []explanation {
	return []explanation{
		{BecauseNotCompliant, "The account is not in good standing; the app or the provider says what is missing."},
		{BecausePausedByOperator, "Payouts were paused by an operator."},
		{BecausePausedByProvider, "Payouts were paused because the provider does not allow them at present."},
		{BecausePausedBySystem, "Payouts were paused because the destination refused several in a row; check its details."},
		{BecausePausedByPayee, "Payouts were paused by the payee."},
		{BecauseNotDue, "No cycle of the schedule is due."},
		{BecauseOpenPayout, "An earlier payout is still under way; the next one follows when it has ended."},
		{BecauseCurrencyNotPaidOut, "Payouts in this currency are not configured."},
		{BecauseCurrencyMismatch, "An amount, the account or its bank is in another currency than the payee's balance."},
		{BecauseAmountNotPositive, "The amount must be more than zero."},
		{BecauseBalanceNegative, "The balance is negative: refunds, chargebacks or payouts exceed the earnings so far."},
		{BecauseNothingToPay, "There are no unpaid earnings in the period."},
		{BecauseAboveAvailable, "The amount is more than is available."},
		{BecauseBelowMinimum, "The amount is below the minimum; it stays in the balance."},
		{BecauseAboveLimit, "The amount is more than can be paid at once."},
		{BecauseNotAStep, "The provider pays this currency in whole units only."},
		{BecauseInstantNotOnRail, "Instant payouts go to a Stripe account only."},
		{BecauseInstantNotInCurrency, "Instant payouts are not configured in this currency."},
		{BecauseInstantNotInCountry, "Instant payouts are for payees in the United States only."},
		{BecauseInstantNotOffered, "The bank or card does not take instant payouts."},
		{BecauseInstantNotYet, "Instant payouts begin after the first payout to this bank or card was paid."},
		{BecauseDestinationChanged, "The destination was changed a short while ago: what was planned before is not sent, and instant payouts wait some days."},
		{BecauseInstantRefused, "The bank or card refused an instant payout within the last days; they are tried again later."},
		{BecauseNoDestination, "There is no account to pay to."},
		{BecauseDestinationUnchecked, "The account has not been checked yet."},
		{BecauseScheduleNotManual, "The Stripe account pays out by a schedule of its own; set it to manual."},
		{BecausePayoutsDisabled, "Stripe has disabled payouts of the account; complete its requirements there."},
		{BecauseExternalErrored, "An earlier payout to the bank or card failed; replace it."},
		{BecauseAccountNegative, "The balance of the Stripe account is negative."},
		{BecauseEmailNotASCII, "PayPal takes e-mail addresses of ASCII characters only."},
		{BecausePayPalNotInCurrency, "Payouts by PayPal are made in US dollars only."},
		{BecauseFunding, "The payout waits until the platform's account is funded."},
	}
}

// Reasons are all of them, in the order in which they are looked for.
func Reasons() []Reason {
	var all []Reason
	for _, e := range explanations() {
		all = append(all, e.reason)
	}
	return all
}

// Sentence is the reason for people to read.
func (r Reason) Sentence() string {
	all := explanations()
	i := slices.IndexFunc(all, func(e explanation) bool { return e.reason == r })
	if i < 0 {
		return ""
	}
	return all[i].sentence
}

// pausedBy is the reason that a source's pause is.
func pausedBy(source Source) Reason { return Reason("paused_by_" + string(source)) }

// closesCycle says that a cycle had nothing to pay, or too little, which the next one covers too.
func (r Reason) closesCycle() bool {
	return r == BecauseBalanceNegative || r == BecauseNothingToPay || r == BecauseBelowMinimum
}
