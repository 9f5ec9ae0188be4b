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

// serveBalance answers GET /v1/balance, the cheapest read there is: it tells that the API and the
// key work. No money moves yet, so it is zero.
func (s *Stripe) serveBalance() {
	s.handle("GET /v1/balance", func(r stripeRequest) (stripeWork, *stripeError) {
		if problem := r.params.only(nil); problem != nil {
			return nil, problem
		}
		nothing := []stripeAmount{{Currency: "usd", SourceTypes: map[string]int64{"card": 0}}}
		balance := stripeBalance{
			Object: "balance", Available: nothing, ConnectReserved: nothing, InstantAvailable: nothing, Pending: nothing,
		}
		return func() (any, *stripeError) { return balance, nil }, nil
	})
}
