package activities

import (
	"context"
	"errors"
	"log/slog"
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
}

// NewPayoutRuns makes the activities.
func NewPayoutRuns(pool *pgxpool.Pool, payouts *payout.Store) *PayoutRuns {
	return &PayoutRuns{pool: pool, payouts: payouts}
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
		lacks, err := payout.LacksStripeFunds(ctx, r.pool, run)
		if err != nil {
			return result, err
		}
		if lacks {
			result.Next = workflows.RunWantsFunds
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
	var at sweep
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
	for {
		ids, err := payout.ListUnseen(ctx, r.pool, at.After, payoutSlice)
		if err != nil || len(ids) == 0 {
			return at.Result, err
		}
		if err := r.lookAt(ctx, ids); err != nil {
			return at.Result, err
		}
		at.After = ids[len(ids)-1]
		at.Result.Looked += len(ids)
		activity.RecordHeartbeat(ctx, at)
	}
}

// sweep is how far a sweep is.
type sweep struct {
	After  string                `json:"after"`
	Result workflows.SweepResult `json:"result"`
}

// goOn has every run go on that should have ended by now, should nothing work on it any more.
func (r *PayoutRuns) goOn(ctx context.Context) (runs int, err error) {
	dates, err := payout.ListUnfinishedRuns(ctx, r.pool)
	if err != nil {
		return 0, err
	}
	messages := make([]outbox.Message, len(dates))
	for i, on := range dates {
		messages[i] = workflows.TellPayoutRun(on, round())
	}
	return len(dates), r.handOver(ctx, messages)
}

func (r *PayoutRuns) lookAt(ctx context.Context, ids []string) error {
	messages := make([]outbox.Message, len(ids))
	for i, id := range ids {
		messages[i] = workflows.LookAtPayout(id, round())
	}
	return r.handOver(ctx, messages)
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
type StripeFunds struct {
	pool     *pgxpool.Pool
	payouts  *payout.Store
	client   *stripe.Client
	attempts *attempts
}

// NewStripeFunds makes the activity. A nil client is a Stripe that is not configured.
func NewStripeFunds(pool *pgxpool.Pool, payouts *payout.Store, client *stripe.Client, breaker *provider.Breaker, log *slog.Logger) *StripeFunds {
	return &StripeFunds{pool: pool, payouts: payouts, client: client, attempts: newAttempts(pool, provider.Stripe, breaker, client != nil, log)}
}

// ReadPlatformFunds reads what the platform has available at Stripe, which bounds what runs claim.
func (f *StripeFunds) ReadPlatformFunds(ctx context.Context, in workflows.FundsInput) error {
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	if err := step.Open(ctx, f.pool, step.Step{WorkflowID: workflowID, Name: in.Step, Provider: provider.Stripe}); err != nil {
		return err
	}
	return f.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		asOf, err := payout.DatabaseTime(ctx, f.pool)
		if err != nil {
			return err
		}
		has, err := f.client.GetBalance(ctx, "")
		if err != nil {
			return err
		}
		if err := f.payouts.RecordFunds(ctx, payout.RailStripe, f.available(has), asOf); err != nil {
			return err
		}
		return step.Finish(ctx, f.pool, workflowID, in.Step, step.Done)
	})
}

// available is what there is of every currency that is paid out, also when that is nothing.
func (f *StripeFunds) available(has stripe.Balance) []money.Amount {
	var all []money.Amount
	for currency := range f.payouts.Policy().Currencies {
		all = append(all, money.New(has[string(currency)].Available, currency))
	}
	return all
}
