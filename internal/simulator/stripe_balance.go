package simulator

type stripeBalance struct {
	Object           string         `json:"object"`
	Available        []stripeAmount `json:"available"`
	ConnectReserved  []stripeAmount `json:"connect_reserved"`
	InstantAvailable []stripeAmount `json:"instant_available"`
	Livemode         bool           `json:"livemode"`
	Pending          []stripeAmount `json:"pending"`
}

// stripeAmount is in minor units.
type stripeAmount struct {
	Amount      int64            `json:"amount"`
	Currency    string           `json:"currency"`
	SourceTypes map[string]int64 `json:"source_types"`
}

// serveBalance answers GET /v1/balance, of our own or of a connected account. It is also the cheapest
// read there is: it tells that the API and the key work.
func (s *Stripe) serveBalance() {
	s.handle("GET /v1/balance", s.ofAccount(func(r stripeRequest) (stripeWork, *stripeError) {
		if problem := r.params.only(nil); problem != nil {
			return nil, problem
		}
		return func() (any, *stripeError) {
			if a, ok := s.money.accounts.get(r.account); ok {
				return balanceOf(a.wallet, a.Currency), nil
			}
			return balanceOf(s.money.platform, stripeCurrency), nil
		}, nil
	}))
}

// balanceOf shows what is in a wallet, and the holder's own currency even if there is nothing of it.
func balanceOf(w stripeWallet, own string) stripeBalance {
	b := stripeBalance{Object: "balance"}
	for _, currency := range w.currencies(own) {
		f := w.held(currency)
		b.Available = append(b.Available, cardAmount(f.available, currency))
		b.Pending = append(b.Pending, cardAmount(f.pending, currency))
		b.InstantAvailable = append(b.InstantAvailable, cardAmount(f.instantAvailable(), currency))
		b.ConnectReserved = append(b.ConnectReserved, cardAmount(0, currency))
	}
	return b
}

func cardAmount(amount int64, currency string) stripeAmount {
	return stripeAmount{Amount: amount, Currency: currency, SourceTypes: map[string]int64{"card": amount}}
}
