package payout

import "slices"

// State is how far a payout is.
type State string

// The states.
const (
	Planned   State = "planned"    // stored, with the money claimed; nothing was sent
	Sending   State = "sending"    // calls to the provider have begun
	InTransit State = "in_transit" // the provider has it
	Unclaimed State = "unclaimed"  // nobody has the PayPal account yet
	Held      State = "held"       // what became of it is not known; a person decides
	Paid      State = "paid"       // the provider says so; it may still come back
	Failed    State = "failed"
	Canceled  State = "canceled"
	Returned  State = "returned" // paid, or nearly, and then sent back
)

// States are all of them, those in which money is under way first.
func States() []State {
	return []State{Planned, Sending, InTransit, Unclaimed, Held, Paid, Failed, Canceled, Returned}
}

// exits are the states that may follow a state.
func exits(from State) []State {
	switch from {
	case Planned:
		return []State{Sending, Canceled}
	case Sending:
		return []State{InTransit, Paid, Unclaimed, Failed, Canceled, Held}
	case InTransit:
		return []State{Paid, Unclaimed, Failed, Canceled, Returned, Held}
	case Unclaimed:
		return []State{Paid, Returned, Canceled, Failed}
	case Held:
		return []State{InTransit, Paid, Unclaimed, Failed, Canceled, Returned}
	case Paid:
		return []State{Returned, Held}
	default: // Failed, Canceled and Returned are for good
		return nil
	}
}

// CanGo says whether a payout in one state may go to another. Nothing else may happen to a payout.
func CanGo(from, to State) bool { return slices.Contains(exits(from), to) }

// Blocks says that a payout in this state keeps the payee's next one back.
func (s State) Blocks() bool {
	return slices.Contains([]State{Planned, Sending, InTransit, Unclaimed, Held}, s)
}

// Releases says that the money of a payout that has come to this state is the payee's again. A state
// that neither blocks nor releases is Paid.
func (s State) Releases() bool { return slices.Contains([]State{Failed, Canceled, Returned}, s) }
