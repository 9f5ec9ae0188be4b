package simulator

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The metadata by which the app's payout and payee are found on what moved money for them.
const (
	payoutIDKey = "holdfast_payout_id"
	payeeIDKey  = "holdfast_payee_id"
)

// maxStripeAmount is the largest amount of one movement, in minor units.
const maxStripeAmount = 999_999_999_999

// stripeMoney is who holds what, and how it moved. The lock of the Stripe that it belongs to guards
// it.
type stripeMoney struct {
	platform  stripeWallet
	accounts  collection[*stripeAccount]
	transfers collection[*stripeTransfer]
	// transfersOfGroup are the same by their transfer_group, so that one group's are listed cheaply.
	transfersOfGroup map[string]*collection[*stripeTransfer]
	payouts          collection[*stripePayout]

	delay      TransferDelay
	limits     PayoutLimits
	settlement PayoutSettlement
	random     *rand.Rand // which payouts fail by themselves
	instant    instantUse // of all accounts together
	stopped    bool       // nothing happens by itself any more
}

func newStripeMoney(seed uint64) stripeMoney {
	return stripeMoney{
		platform: stripeWallet{}, transfersOfGroup: map[string]*collection[*stripeTransfer]{}, limits: defaultPayoutLimits(),
		//nolint:gosec // which payout fails must be repeatable, not unpredictable
		random: rand.New(rand.NewPCG(seed, seed)),
	}
}

// Funds is what a holder has in one currency, in minor units. It may be negative.
type Funds struct {
	Available        int64 `json:"available"`
	Pending          int64 `json:"pending"`
	InstantAvailable int64 `json:"instant_available"` // of what is available
}

// stripeWallet is what a holder has, by currency.
type stripeWallet map[string]*stripeFunds

type stripeFunds struct {
	putIn      int64 // from outside since the start, less what was taken out
	available  int64
	pending    int64
	notInstant int64 // what has come in so lately that it cannot be paid out instantly
}

func (w stripeWallet) in(currency string) *stripeFunds {
	f, ok := w[currency]
	if !ok {
		f = &stripeFunds{}
		w[currency] = f
	}
	return f
}

// held is what is there of a currency, if anything.
func (w stripeWallet) held(currency string) stripeFunds {
	if f, ok := w[currency]; ok {
		return *f
	}
	return stripeFunds{}
}

func (f stripeFunds) instantAvailable() int64 {
	return max(0, min(f.available, f.available+f.pending-f.notInstant))
}

func (f stripeFunds) snapshot() Funds {
	return Funds{Available: f.available, Pending: f.pending, InstantAvailable: f.instantAvailable()}
}

func (w stripeWallet) snapshot() map[string]Funds {
	out := make(map[string]Funds, len(w))
	for currency, f := range w {
		out[currency] = f.snapshot()
	}
	return out
}

// SetPlatformBalance makes the amount, in minor units, available to transfer. The difference comes
// from outside, or goes there.
func (s *Stripe) SetPlatformBalance(currency string, amount int64) error {
	return s.setBalance("", currency, amount)
}

// SetAccountBalance makes the amount, in minor units, available on a connected account, below zero
// too, as after a dispute. The difference comes from outside, or goes there.
func (s *Stripe) SetAccountBalance(accountID, currency string, amount int64) error {
	if accountID == "" {
		return errors.New("simulator: set the balance of a Stripe account: its id is empty")
	}
	return s.setBalance(accountID, currency, amount)
}

func (s *Stripe) setBalance(accountID, currency string, amount int64) error {
	switch {
	case !isStripeCurrency(currency):
		return fmt.Errorf("simulator: set a Stripe balance: %q is no currency of Stripe's (three lower-case letters)", currency)
	case max(amount, -amount) > maxStripeAmount:
		return fmt.Errorf("simulator: set a Stripe balance: %d is more than %d either way", amount, int64(maxStripeAmount))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wallet, err := s.walletOf(accountID)
	if err != nil {
		return err
	}
	f := wallet.in(currency)
	more := amount - f.available
	f.available, f.putIn = amount, f.putIn+more
	if more > 0 {
		s.tell(happening{at: unixNow(), account: accountID}, "balance.available", balanceOf(wallet, currency))
	}
	return nil
}

// Balance is what a connected account has by currency, or we ourselves if the id is empty. It fails
// for an account that there is not.
func (s *Stripe) Balance(accountID string) (map[string]Funds, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wallet, err := s.walletOf(accountID)
	if err != nil {
		return nil, err
	}
	return wallet.snapshot(), nil
}

func (s *Stripe) walletOf(accountID string) (stripeWallet, error) {
	if accountID == "" {
		return s.money.platform, nil
	}
	a, ok := s.money.accounts.get(accountID)
	if !ok {
		return nil, fmt.Errorf("simulator: there is no Stripe account %q", accountID)
	}
	return a.wallet, nil
}

// TransferDelay is how long a transfer's funds are pending on the account, and how much longer it
// takes until they can be paid out instantly, in milliseconds. The zero value is at once.
type TransferDelay struct {
	AvailableMS int `json:"available_ms,omitempty"`
	InstantMS   int `json:"instant_ms,omitempty"`
}

// SetTransferDelay changes when the funds of transfers become available that are made from now on.
func (s *Stripe) SetTransferDelay(delay TransferDelay) error {
	if min(delay.AvailableMS, delay.InstantMS) < 0 {
		return errors.New("simulator: delay of Stripe transfers: available_ms and instant_ms must not be negative")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.money.delay = delay
	return nil
}

// ReleaseFunds makes everything available, also for instant payouts, that an account still waits for.
func (s *Stripe) ReleaseFunds(accountID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.money.accounts.get(accountID)
	if !ok {
		return fmt.Errorf("simulator: release funds: there is no Stripe account %q", accountID)
	}
	for _, t := range a.transfers.oldestFirst {
		s.makeAvailable(a, t)
		a.wallet.makeInstant(t)
	}
	return nil
}

// stop ends what happens by itself.
func (s *Stripe) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.money.stopped = true
}

// later does something under the lock after a while, unless the simulator has closed by then.
func (s *Stripe) later(delayMS int, do func()) {
	time.AfterFunc(time.Duration(delayMS)*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.money.stopped {
			do()
		}
	})
}

// readAmount reads the amount and the currency of a movement; manual payouts have coarser steps than
// transfers in some currencies.
func (p params) readAmount(step func(currency string) int64) (amount int64, currency string, problem *stripeError) {
	for _, name := range []string{"amount", "currency"} {
		if p.text(name) == "" {
			return 0, "", missingParameter(name)
		}
	}
	amount, problem = p.integer("amount", 1, maxStripeAmount, 0)
	if problem != nil {
		return 0, "", problem
	}
	currency = strings.ToLower(p.text("currency"))
	if !isStripeCurrency(currency) {
		return 0, "", invalidRequest("", "currency", "Invalid currency: "+currency+". See https://stripe.com/docs/currencies.")
	}
	if by := step(currency); amount%by != 0 {
		return 0, "", invalidRequest("parameter_invalid_integer", "amount",
			"Invalid amount: in "+currency+" it must be divisible by "+strconv.FormatInt(by, 10)+".")
	}
	return amount, currency, nil
}

// transferStep is what amounts must be divisible by: ISK and UGX have two decimals that must be zero,
// and of three decimals the last must be (docs.stripe.com/currencies).
func transferStep(currency string) int64 {
	switch currency {
	case "isk", "ugx":
		return 100
	case "bhd", "jod", "kwd", "omr", "tnd":
		return 10
	}
	return 1
}

// payoutStep is the same for payouts, where HUF and TWD have no decimals either.
func payoutStep(currency string) int64 {
	if currency == "huf" || currency == "twd" {
		return 100
	}
	return transferStep(currency)
}

func isStripeCurrency(currency string) bool {
	// docs.stripe.com/currencies, as of the API version that is simulated.
	const all = " aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp " +
		"cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl hrk htg huf idr ils inr isk " +
		"jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mro mur mvr mwk mxn myr mzn " +
		"nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl " +
		"thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw "
	return len(currency) == 3 && strings.Contains(all, " "+currency+" ")
}

func missingParameter(name string) *stripeError {
	return invalidRequest("parameter_missing", name, "Missing required param: "+name+".")
}

// noAccess is the answer for a connected account that is not ours, or not any more. It stands before
// the idempotency layer.
func noAccess(accountID string) *stripeError {
	e := invalidRequest("account_invalid", "", "The provided key does not have access to account '"+accountID+
		"' (or that account does not exist). Application access may have been revoked.")
	e.status = http.StatusForbidden
	return e
}

// checkAccess complains about an account that the key has no access to.
func (s *Stripe) checkAccess(accountID string) *stripeError {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.money.accounts.get(accountID); !ok || a.Revoked {
		return noAccess(accountID)
	}
	return nil
}

// ofAccount is an operation on the connected account that the request is about, if it names one.
func (s *Stripe) ofAccount(operation stripeOperation) stripeOperation {
	return func(r stripeRequest) (stripeWork, *stripeError) {
		if r.account != "" {
			if problem := s.checkAccess(r.account); problem != nil {
				return nil, problem
			}
		}
		return operation(r)
	}
}

// metadata are the pairs that a new object gets.
func (p params) metadata() map[string]string {
	metadata := map[string]string{}
	p.mergeMetadata(metadata)
	return metadata
}

// currencies of a wallet in order, with one that is always shown.
func (w stripeWallet) currencies(always string) []string {
	all := slices.Collect(maps.Keys(w))
	if !slices.Contains(all, always) {
		all = append(all, always)
	}
	return slices.Sorted(slices.Values(all))
}
