// Package ledger is Holdfast's double-entry ledger: append-only, in integer minor units, one
// transaction for every event that money has a part in. Balances are derived from it. The database
// refuses a transaction that does not sum to zero, a change of what was posted, and a payout that is
// paid, reversed or released twice.
//
// The accounts, each per currency. Liabilities, which credits raise: payee, what we owe to each, and
// in_payout, what of it is claimed for a payout. Income: fees. Assets, which debits raise: app, what
// the app has collected; platform, per rail, our own movements there; acct, per connected account;
// transit, per rail, on its way to a bank or an inbox. Costs: provider_fee, fx, writeoff.
package ledger

import (
	"github.com/holdfast/holdfast/internal/money"
)

// Rail is the provider by which money moves.
type Rail string

// The rails.
const (
	Stripe Rail = "stripe"
	PayPal Rail = "paypal"
)

// Kind is what an account is for.
type Kind string

// The kinds of accounts.
const (
	KindPayee       Kind = "payee"
	KindInPayout    Kind = "in_payout"
	KindFees        Kind = "fees"
	KindApp         Kind = "app"
	KindPlatform    Kind = "platform"
	KindAcct        Kind = "acct"
	KindTransit     Kind = "transit"
	KindProviderFee Kind = "provider_fee"
	KindFX          Kind = "fx"
	KindWriteOff    Kind = "writeoff"
)

// raisedByCredits says whether it is a liability or an income.
func (k Kind) raisedByCredits() bool { return k == KindPayee || k == KindInPayout || k == KindFees }

// Account is one account, which has a balance in every currency.
type Account struct {
	Kind  Kind
	Owner string // a payee, or a connected account; empty for kinds that have none
	Rail  Rail   // empty for kinds that have none
}

// PayeeAccount is what we owe to a payee.
func PayeeAccount(payeeID string) Account { return Account{Kind: KindPayee, Owner: payeeID} }

// InPayoutAccount is what is claimed of a payee's money for payouts that are under way.
func InPayoutAccount(payeeID string) Account { return Account{Kind: KindInPayout, Owner: payeeID} }

// FeesAccount is what we have earned by payouts.
func FeesAccount() Account { return Account{Kind: KindFees} }

// AppAccount is what the app has collected of what payees earned.
func AppAccount() Account { return Account{Kind: KindApp} }

// PlatformAccount is what we have moved out of and into our own account with a provider.
func PlatformAccount(rail Rail) Account { return Account{Kind: KindPlatform, Rail: rail} }

// AcctAccount is what of our transfers is on a connected account of Stripe's.
func AcctAccount(accountID string) Account { return Account{Kind: KindAcct, Owner: accountID} }

// TransitAccount is what is on its way from a provider to payees.
func TransitAccount(rail Rail) Account { return Account{Kind: KindTransit, Rail: rail} }

// ProviderFeeAccount is what providers have charged us.
func ProviderFeeAccount() Account { return Account{Kind: KindProviderFee} }

// FXAccount is what we have lost, or below zero gained, by exchange.
func FXAccount() Account { return Account{Kind: KindFX} }

// WriteOffAccount is what we have given up.
func WriteOffAccount() Account { return Account{Kind: KindWriteOff} }

// Event is what happened.
type Event string

// The events, in the order of RULES.md. What posts nothing is no event of the ledger: a payout refused
// after its transfer (11), and what is unclaimed, on hold or held (16).
const (
	EventEarning        Event = "earning"         // 1
	EventRefund         Event = "refund"          // 2
	EventClaim          Event = "claim"           // 3
	EventRelease        Event = "release"         // 4, 12
	EventTransfer       Event = "transfer"        // 5
	EventPayout         Event = "payout"          // 6
	EventPaid           Event = "paid"            // 7, 15
	EventPayoutFailed   Event = "payout_failed"   // 8
	EventReversal       Event = "reversal"        // 9
	EventReturned       Event = "returned"        // 10
	EventAccepted       Event = "accepted"        // 13
	EventProviderFee    Event = "provider_fee"    // 14
	EventItemFailed     Event = "item_failed"     // 17
	EventItemReversed   Event = "item_reversed"   // 18
	EventPartlyReversed Event = "partly_reversed" // 19
	EventDuplicate      Event = "duplicate"       // 21
	EventWriteOff       Event = "write_off"       // 22
	EventAdjustment     Event = "adjustment"      // 22, and what it takes back of 21
)

// Payout is what the ledger needs to know of a payout.
type Payout struct {
	ID        string
	PayeeID   string
	Rail      Rail
	AccountID string       // the connected account, at Stripe
	Gross     money.Amount // what the payee gives for it
	Fee       money.Amount // what of it is ours; zero when there is none
	Epoch     int          // of the event; raised when the same happens to the payout again
}

// net is what the payee receives; check sees to it that there is such a sum.
func (p Payout) net() money.Amount { return money.New(p.Gross.Minor-p.Fee.Minor, p.Gross.Currency) }
