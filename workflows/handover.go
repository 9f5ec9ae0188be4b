package workflows

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// The messages by which the rest of Holdfast hands work over, through the outbox. Each names its
// effect, so that it happens once.

// StartOnboarding starts the onboarding of a new customer.
func StartOnboarding(customerID string) outbox.Message {
	return onboardingMessage(customerID, "created")
}

// ChangeProfile tells a customer's onboarding that version n of the profile is to be carried to
// the provider. It starts one if none is running.
func ChangeProfile(customerID string, version int) outbox.Message {
	m := onboardingMessage(customerID, fmt.Sprintf("profile/%d", version))
	m.Signal = SignalProfileChanged
	return m
}

// RepairOnboarding starts onboarding again for a customer on whom nothing works, at most once in
// each period, whoever noticed.
func RepairOnboarding(customerID string, now time.Time) outbox.Message {
	return onboardingMessage(customerID, repairCause(now))
}

// repairCause names a repair by its period, of which each makes one.
func repairCause(now time.Time) string {
	const period = time.Minute
	return "repair/" + now.UTC().Truncate(period).Format(time.RFC3339)
}

func onboardingMessage(customerID, cause string) outbox.Message {
	return outbox.Message{
		Key:              OnboardingID(customerID) + "/" + cause,
		Workflow:         NameCustomerOnboarding,
		WorkflowID:       OnboardingID(customerID),
		TaskQueue:        TaskQueue,
		Input:            encode(OnboardingInput{CustomerID: customerID}),
		Summary:          "onboarding of " + customerID,
		SearchAttributes: map[string]string{SearchCustomer: customerID},
	}
}

// SyncSubscriptions has a marked customer read. All marks that come before the next read begins are
// one message.
func SyncSubscriptions(m subscription.Mark) outbox.Message {
	return syncMessage(SyncInput{CustomerID: m.CustomerID, Provider: m.Provider}, fmt.Sprintf("%s/%d", m.Provider, m.Begun))
}

// RepairSync has a customer read who is marked and on whom nothing works, at most once in each
// period, whoever noticed.
func RepairSync(customerID string, now time.Time) outbox.Message {
	return syncMessage(SyncInput{CustomerID: customerID}, repairCause(now))
}

func syncMessage(in SyncInput, cause string) outbox.Message {
	return outbox.Message{
		Key:              SyncID(in.CustomerID) + "/" + cause,
		Workflow:         NameSubscriptionSync,
		WorkflowID:       SyncID(in.CustomerID),
		TaskQueue:        TaskQueue,
		Input:            encode(in),
		Signal:           SignalChanged,
		Summary:          "subscriptions of " + in.CustomerID,
		SearchAttributes: map[string]string{SearchCustomer: in.CustomerID},
	}
}

// DeliverChange has a change sent to the app's webhook.
func DeliverChange(c feed.Change) outbox.Message {
	m := outbox.Message{
		Key:        DeliveryID(c.Seq),
		Workflow:   NameChangeDelivery,
		WorkflowID: DeliveryID(c.Seq),
		TaskQueue:  TaskQueue,
		Input:      encode(DeliveryInput{Seq: c.Seq}),
		Summary:    c.Type,
	}
	if c.CustomerID != "" { // else it is about no customer
		m.Summary += " of " + c.CustomerID
		m.SearchAttributes = map[string]string{SearchCustomer: c.CustomerID}
	}
	return m
}

// RedeliverChange has a change sent again, once for each request of an operator.
func RedeliverChange(c feed.Change, request int64) outbox.Message {
	m := DeliverChange(c)
	m.Key += fmt.Sprintf("/redeliver/%d", request)
	m.Signal = SignalRedeliver
	return m
}

// TellPayoutRun has a date's run look at how it stands, once for each cause: what a person decided about
// it, or a round of the sweep. It starts the workflow if none is running.
func TellPayoutRun(on date.Date, cause string) outbox.Message {
	return outbox.Message{
		Key:        PayoutRunID(on) + "/" + cause,
		Workflow:   NamePayoutRun,
		WorkflowID: PayoutRunID(on),
		TaskQueue:  TaskQueue,
		Input:      encode(PayoutRunInput{Date: on}),
		Signal:     SignalDecided,
		Summary:    "payouts of " + on.String(),
	}
}

// PayoutWork is how the store of payouts hands work over.
func PayoutWork() payout.Work {
	return payout.Work{Pay: StartPayout, PayBatch: StartPayPalBatch, LookAt: LookAtPayout, Wake: WakePayouts, CheckAccount: CheckAccount, RefreshAccount: RefreshAccount}
}

// CheckAccount has a payee's connected account looked at, once for each cause.
func CheckAccount(payeeID, cause string) outbox.Message {
	return checkAccount(AccountCheckInput{PayeeID: payeeID}, cause)
}

// RefreshAccount is CheckAccount for nobody who waits: live work at Stripe goes first.
func RefreshAccount(payeeID, cause string) outbox.Message {
	return checkAccount(AccountCheckInput{PayeeID: payeeID, Background: true}, cause)
}

func checkAccount(in AccountCheckInput, cause string) outbox.Message {
	return outbox.Message{
		Key:              AccountCheckID(in.PayeeID) + "/" + cause,
		Workflow:         NameAccountCheck,
		WorkflowID:       AccountCheckID(in.PayeeID),
		TaskQueue:        TaskQueue,
		Input:            encode(in),
		Signal:           SignalChanged,
		Summary:          "connected account of " + in.PayeeID,
		SearchAttributes: map[string]string{SearchCustomer: in.PayeeID},
	}
}

// StartPayout gives a payout a workflow of its own.
func StartPayout(payoutID string) outbox.Message {
	return outbox.Message{
		Key:        PayoutID(payoutID),
		Workflow:   NamePayout,
		WorkflowID: PayoutID(payoutID),
		TaskQueue:  TaskQueue,
		Input:      encode(PayoutInput{PayoutID: payoutID}),
		Summary:    "payout " + payoutID,
	}
}

// LookAtPayout has a payout looked at again, once for each cause: an event of the provider's, or a
// round of the sweep. It starts the workflow if none is running.
func LookAtPayout(payoutID, cause string) outbox.Message {
	return lookAgain(StartPayout(payoutID), cause)
}

// WakePayouts has the payouts told that wait for a stop that was lifted: those of a run's date, or all
// when it is zero; once for each cause.
func WakePayouts(on date.Date, cause string) outbox.Message {
	return outbox.Message{
		Key:        PayoutWakeID(cause),
		Workflow:   NamePayoutWake,
		WorkflowID: PayoutWakeID(cause),
		TaskQueue:  TaskQueue,
		Input:      encode(PayoutWakeInput{RunDate: on, Cause: cause}),
		Summary:    "payouts that wait, after " + cause,
	}
}

// StartPayPalBatch gives a batch of payouts at PayPal a workflow of its own.
func StartPayPalBatch(batchID string) outbox.Message {
	return outbox.Message{
		Key:        PayPalBatchID(batchID),
		Workflow:   NamePayPalPayoutBatch,
		WorkflowID: PayPalBatchID(batchID),
		TaskQueue:  TaskQueue,
		Input:      encode(PayPalBatchInput{BatchID: batchID}),
		Summary:    "PayPal payouts " + batchID,
	}
}

// LookAtPayPalBatch has a batch looked at again, once for each cause: an event of PayPal's, or a round of
// the sweep. It starts the workflow if none is running.
func LookAtPayPalBatch(batchID, cause string) outbox.Message {
	return lookAgain(StartPayPalBatch(batchID), cause)
}

// lookAgain makes of the message that starts a workflow one that also has a running one look, once for
// each cause.
func lookAgain(start outbox.Message, cause string) outbox.Message {
	start.Key += "/" + cause
	start.Signal = SignalProviderEvent
	return start
}

// ReportTrouble tells a provider's gate that a step met trouble, once in each epoch of the
// provider's health: a thousand parked steps are one signal.
func ReportTrouble(h provider.Health) outbox.Message {
	return outbox.Message{
		Key:        fmt.Sprintf("%s/trouble/%d", GateID(h.Provider), h.Epoch),
		Workflow:   NameProviderGate,
		WorkflowID: GateID(h.Provider),
		TaskQueue:  TaskQueue,
		Input:      encode(GateInput{Provider: h.Provider}),
		Signal:     SignalTrouble,
		Summary:    "gate of " + string(h.Provider),
	}
}

// encode turns an input of ours, which is made of strings and numbers, into JSON.
func encode(input any) json.RawMessage {
	encoded, err := json.Marshal(input)
	if err != nil {
		panic(fmt.Sprintf("workflows: encode %T: %v", input, err))
	}
	return encoded
}
