package activities

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// PayoutRuns moves the runs of payouts along in our own database.
type PayoutRuns struct {
	pool    *pgxpool.Pool
	payouts *payout.Store
	meter   SweepMeter
}

// NewPayoutRuns makes the activities.
func NewPayoutRuns(pool *pgxpool.Pool, payouts *payout.Store, meter SweepMeter) *PayoutRuns {
	return &PayoutRuns{pool: pool, payouts: payouts, meter: meter}
}

// payoutSlice is how many payees, or payouts, one transaction works on.
const payoutSlice = 500

// bySchedule is the cause of a run that nobody began before its workflow did.
const bySchedule = "schedule"

// AdvancePayoutRun does one slice of what a date's run has to do, and says what comes next.
func (r *PayoutRuns) AdvancePayoutRun(ctx context.Context, on date.Date) (workflows.PayoutRunStep, error) {
	run, _, err := r.payouts.BeginRun(ctx, on, bySchedule, "")
	if err != nil {
		return workflows.PayoutRunStep{}, asInvalid(err)
	}
	switch run.State {
	case payout.RunComputing:
		return r.compute(ctx, run)
	case payout.RunPaying:
		handed, err := r.payouts.HandOver(ctx, on, payoutSlice)
		return workflows.PayoutRunStep{State: string(run.State), HandedOver: handed.Payouts}, err
	case payout.RunEnded:
		return workflows.PayoutRunStep{State: string(run.State), Next: workflows.RunOver}, nil
	default: // paused, or to be approved
		return workflows.PayoutRunStep{State: string(run.State), Next: workflows.RunWaitsForPerson}, nil
	}
}

// compute looks at a slice of payees, or claims for a slice of those who are to be paid. In between it
// has to be known what the platform has.
func (r *PayoutRuns) compute(ctx context.Context, run payout.Run) (workflows.PayoutRunStep, error) {
	result := workflows.PayoutRunStep{State: string(run.State)}
	if run.LookedAt != nil {
		funds, err := r.wantedFunds(ctx, run)
		if err != nil {
			return result, err
		}
		if len(funds) > 0 {
			result.Next, result.Funds = workflows.RunWantsFunds, funds
			return result, nil
		}
	}
	slice, err := r.payouts.PlanSlice(ctx, run.Date, payoutSlice)
	if err != nil {
		return result, err
	}
	result.Looked, result.Planned = slice.Looked, slice.Planned
	if slice.Done {
		_, err = r.payouts.ConfirmComputed(ctx, run.Date)
	}
	return result, err
}

// wantedFunds is what has to be known before the run claims, with the steps that read it. What was not to
// be had, so that the run went on without, is not asked for again.
func (r *PayoutRuns) wantedFunds(ctx context.Context, run payout.Run) ([]workflows.WantedFunds, error) {
	lacking, err := payout.LackingFunds(ctx, r.pool, run)
	if err != nil || len(lacking) == 0 {
		return nil, err
	}
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	known, err := step.ByWorkflow(ctx, r.pool, workflowID)
	if err != nil {
		return nil, err
	}
	var all []workflows.WantedFunds
	for _, lacks := range lacking {
		wanted := workflows.FundsAt(provider.Name(lacks.Rail))
		wanted.Known = lacks.Known
		if slices.ContainsFunc(known, func(s step.Step) bool { return s.Name == wanted.Step && s.Status == step.Skipped }) {
			continue
		}
		if err := step.Open(ctx, r.pool, step.Step{WorkflowID: workflowID, Name: wanted.Step, Provider: wanted.Provider}); err != nil {
			return nil, err
		}
		all = append(all, wanted)
	}
	return all, nil
}

// DecidePayoutRun carries out a person's decision on a run.
func (r *PayoutRuns) DecidePayoutRun(ctx context.Context, in workflows.DecideRunInput) error {
	decide := map[string]func(ctx context.Context, on date.Date, actor, note string) error{
		workflows.UpdateApprove: r.payouts.Approve,
		workflows.UpdatePause:   r.payouts.PauseRun,
		workflows.UpdateResume:  r.payouts.ResumeRun,
	}[in.Decision]
	return asConflict(decide(ctx, in.Date, in.Actor, ""))
}

// asConflict is for decisions: what the state does not allow, and what is no decision, is not tried again.
func asConflict(err error) error {
	if field, ok := errors.AsType[*customer.FieldError](err); ok {
		return temporal.NewNonRetryableApplicationError(field.Error(), workflows.ErrInvalidInput, nil)
	}
	for _, refusal := range []error{payout.ErrState, payout.ErrOtherObject, payout.ErrNoRun, payout.ErrNoPayout} {
		if errors.Is(err, refusal) {
			return temporal.NewNonRetryableApplicationError(err.Error(), workflows.ErrConflict, nil)
		}
	}
	return err
}

// SweepPayouts has every payout looked at of which nothing was heard for too long, and every run, and
// lets payees be paid whose payout takes long. After a crash it goes on from the slice it had reached.
func (r *PayoutRuns) SweepPayouts(ctx context.Context) (workflows.SweepResult, error) {
	at := sweep{Result: workflows.SweepResult{Found: map[string]int{}}}
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			return at.Result, err
		}
	}
	lifted, err := payout.LiftBlocks(ctx, r.pool)
	if err != nil {
		return at.Result, err
	}
	at.Result.Lifted += int(lifted)
	if at.Result.Runs, err = r.goOn(ctx); err != nil {
		return at.Result, err
	}
	for _, slice := range []func(context.Context, *sweep) (done bool, err error){r.lookAtPayouts, r.lookAtBatches, r.formBatches, r.noteDelays} {
		for done := false; !done; {
			if done, err = slice(ctx, &at); err != nil {
				return at.Result, err
			}
			activity.RecordHeartbeat(ctx, at)
		}
	}
	if at.Result.Accounts == 0 { // an attempt before this one may have asked
		if at.Result.Accounts, err = r.refreshAccounts(ctx); err != nil {
			return at.Result, err
		}
		activity.RecordHeartbeat(ctx, at)
	}
	if at.Result.SearchDue, err = payout.SearchDue(ctx, r.pool); err != nil {
		return at.Result, err
	}
	for kind, n := range at.Result.Found {
		at, state, _ := strings.Cut(kind, "/")
		r.meter.Found(ctx, provider.Name(at), state, n)
	}
	return at.Result, nil
}

// sweep is how far a sweep is.
type sweep struct {
	After      string                `json:"after"`
	AfterBatch string                `json:"after_batch,omitempty"`
	Result     workflows.SweepResult `json:"result"`
}

// SweepMeter counts what sweeps find. It must not block.
type SweepMeter interface {
	// Found counts payouts, or batches of them, of which nothing was heard for too long.
	Found(ctx context.Context, p provider.Name, state string, n int)
}

func (r *PayoutRuns) lookAtPayouts(ctx context.Context, at *sweep) (done bool, err error) {
	unseen, err := r.payouts.ListUnseen(ctx, at.After, payoutSlice)
	if err != nil || len(unseen) == 0 {
		return true, err
	}
	messages, ids := make([]outbox.Message, len(unseen)), make([]string, len(unseen))
	for i, u := range unseen {
		messages[i], ids[i] = workflows.LookAtPayout(u.ID, round()), u.ID
		at.Result.Found[string(provider.Stripe)+"/"+string(u.State)]++
	}
	if err := errors.Join(r.handOver(ctx, messages), payout.MarkPlanned(ctx, r.pool, ids, nil)); err != nil {
		return true, err
	}
	at.After = ids[len(ids)-1]
	at.Result.Looked += len(ids)
	return false, nil
}

func (r *PayoutRuns) lookAtBatches(ctx context.Context, at *sweep) (done bool, err error) {
	unseen, err := r.payouts.ListUnseenBatches(ctx, at.AfterBatch, payoutSlice)
	if err != nil || len(unseen) == 0 {
		return true, err
	}
	messages, ids := make([]outbox.Message, len(unseen)), make([]string, len(unseen))
	for i, u := range unseen {
		messages[i], ids[i] = workflows.LookAtPayPalBatch(u.ID, round()), u.ID
		at.Result.Found[string(provider.PayPal)+"/"+u.Kind]++
	}
	if err := errors.Join(r.handOver(ctx, messages), payout.MarkPlanned(ctx, r.pool, nil, ids)); err != nil {
		return true, err
	}
	at.AfterBatch = ids[len(ids)-1]
	at.Result.Batches += len(ids)
	return false, nil
}

// formBatches sends payouts by PayPal on their way that are in no batch.
func (r *PayoutRuns) formBatches(ctx context.Context, at *sweep) (done bool, err error) {
	formed, err := r.payouts.FormLeftovers(ctx, payoutSlice)
	at.Result.Formed += formed
	return formed == 0, err
}

func (r *PayoutRuns) noteDelays(ctx context.Context, at *sweep) (done bool, err error) {
	told, err := r.payouts.NoteDelays(ctx, payoutSlice)
	at.Result.Delayed += told
	return told == 0, err
}

// accountsAnHour is how many connected accounts that were not seen for long a sweep has looked at: two calls
// each, so that all of them together take one of Stripe's minutes in an hour.
const accountsAnHour = 500

// refreshAccounts has accounts looked at that were not seen for long, but not while Stripe is away: they
// would only wait there, and all come at once.
func (r *PayoutRuns) refreshAccounts(ctx context.Context) (asked int, err error) {
	health, err := provider.NewHealthStore(r.pool).Get(ctx, provider.Stripe)
	if err != nil || health.State.Refuses() {
		return 0, err
	}
	return r.payouts.RefreshAccounts(ctx, round(), accountsAnHour)
}

// goOn has every run go on that should have ended by now, should nothing work on it any more.
func (r *PayoutRuns) goOn(ctx context.Context) (runs int, err error) {
	dates, err := r.payouts.ListUnfinishedRuns(ctx)
	if err != nil {
		return 0, err
	}
	messages := make([]outbox.Message, len(dates))
	for i, on := range dates {
		messages[i] = workflows.TellPayoutRun(on, round())
	}
	return len(dates), r.handOver(ctx, messages)
}

// round names the sweep of this hour: what several of them find is looked at once.
func round() string { return "sweep/" + time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339) }

func (r *PayoutRuns) handOver(ctx context.Context, messages []outbox.Message) error {
	return postgres.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, m := range messages {
			if err := outbox.Queue(batch, m); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// StripeFunds reads what the platform has at Stripe.
type StripeFunds struct{ funds }

// NewStripeFunds makes the activity. A nil client is a Stripe that is not configured.
func NewStripeFunds(pool *pgxpool.Pool, payouts *payout.Store, client *stripe.Client, breaker *provider.Breaker, log *slog.Logger) *StripeFunds {
	return &StripeFunds{funds{
		pool: pool, payouts: payouts, rail: payout.RailStripe,
		attempts: newAttempts(pool, provider.Stripe, breaker, client != nil, log),
		read: func(ctx context.Context) ([]money.Amount, error) {
			has, err := client.GetBalance(ctx, "")
			return fromStripeBalance(has, payouts.Policy()), err
		},
	}}
}

// ReadPlatformFunds reads what the platform has available at Stripe.
func (f *StripeFunds) ReadPlatformFunds(ctx context.Context, in workflows.FundsInput) error {
	return f.refresh(ctx, in)
}

// fromStripeBalance is what there is of every currency that is paid out, also when that is nothing.
func fromStripeBalance(has stripe.Balance, policy payout.Policy) []money.Amount {
	var all []money.Amount
	for currency := range policy.Currencies {
		all = append(all, money.New(has[string(currency)].Available, currency))
	}
	return all
}
