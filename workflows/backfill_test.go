package workflows_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

const (
	begin   = workflows.ActivityBeginBackfill
	compare = workflows.ActivityCompareStripePage
	mark    = workflows.ActivityMarkUnread
	healed  = workflows.ActivityCountHealed
)

// passWorld is what a pass sees: so many customers, and answers one after the other. The last page is
// followed by nothing, and nobody is to be marked or read, unless the test says otherwise.
type passWorld struct {
	*world

	customers int
	pages     []workflows.ComparePageResult
	marks     []workflows.MarkUnreadResult
	counts    []workflows.CountHealedResult

	comparing []workflows.ComparePageInput
	marking   []workflows.MarkUnreadInput
}

func setupPass(t *testing.T) *passWorld {
	t.Helper()
	p := &passWorld{world: setup(t), customers: 300}
	p.register(begin, func(_ context.Context, in workflows.BeginBackfillInput) (workflows.BeginBackfillResult, error) {
		return workflows.BeginBackfillResult{StartedAt: p.began.UTC(), Customers: p.customers}, p.called(begin, in)
	})
	p.register(compare, func(_ context.Context, in workflows.ComparePageInput) (workflows.ComparePageResult, error) {
		if err := p.called(compare, in); err != nil {
			return workflows.ComparePageResult{}, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.comparing = append(p.comparing, in)
		return next(&p.pages), nil
	})
	p.register(mark, func(_ context.Context, in workflows.MarkUnreadInput) (workflows.MarkUnreadResult, error) {
		if err := p.called(mark, in); err != nil {
			return workflows.MarkUnreadResult{}, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.marking = append(p.marking, in)
		return next(&p.marks), nil
	})
	p.register(healed, func(_ context.Context, in workflows.CountHealedInput) (workflows.CountHealedResult, error) {
		if err := p.called(healed, in); err != nil {
			return workflows.CountHealedResult{}, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return next(&p.counts), nil
	})
	return p
}

// next takes the first of the answers, or the zero one when there are no more.
func next[T any](answers *[]T) (first T) {
	if len(*answers) > 0 {
		first, *answers = (*answers)[0], (*answers)[1:]
	}
	return first
}

// more is a page that others follow.
func more(page, compared, differing int) workflows.ComparePageResult {
	return workflows.ComparePageResult{Next: at(page), Compared: compared, Differing: differing}
}

func at(page int) *workflows.BackfillCursor {
	return &workflows.BackfillCursor{After: fmt.Sprintf("sub_%d", page)}
}

func (p *passWorld) execute(in workflows.BackfillInput) {
	p.env.ExecuteWorkflow(workflows.SubscriptionBackfill, in)
}

// pass makes a pass to its end.
func (p *passWorld) pass(t *testing.T, in workflows.BackfillInput) workflows.BackfillProgress {
	t.Helper()
	p.execute(in)
	return resultOf[workflows.BackfillProgress](t, p.env)
}

func (p *passWorld) progress(t *testing.T) workflows.BackfillProgress {
	t.Helper()
	return answerOf[workflows.BackfillProgress](t, p.env, workflows.QueryProgress)
}

// continued is what a run that continued as new hands to the next.
func (p *passWorld) continued(t *testing.T) (in workflows.BackfillInput) {
	t.Helper()
	var anew *workflow.ContinueAsNewError
	require.ErrorAs(t, p.env.GetWorkflowError(), &anew)
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(anew.Input, &in))
	return in
}

func TestAPassComparesEveryPageAndWaitsForWhomItMarked(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	p.noUpserts(t)
	p.pages = []workflows.ComparePageResult{more(1, 100, 2), more(2, 100, 0), {Compared: 40, Differing: 1, Healed: 1}}
	p.counts = []workflows.CountHealedResult{{Healed: 2, Unread: 1}, {Healed: 3}}

	end := p.pass(t, workflows.BackfillInput{Provider: provider.Stripe})

	require.Equal(t, []string{begin, compare, compare, compare, healed, healed}, p.calls)
	require.Equal(t, workflows.BackfillCursor{}, p.comparing[0].Cursor)
	require.Equal(t, *at(1), p.comparing[1].Cursor)
	require.Equal(t, *at(2), p.comparing[2].Cursor)
	require.Equal(t, workflows.BackfillDone, end.Stage)
	require.Equal(t, []int{300, 3, 240, 3, 3, 3, 0}, []int{end.Customers, end.Pages, end.Compared, end.Differing, end.Marked, end.Healed, end.Unread})
}

func TestAPassWaitsLongerAndLongerWhileMuchIsToBeRead(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	busy := workflows.ComparePageResult{Busy: true}
	for range 9 {
		p.pages = append(p.pages, busy)
	}
	p.pages = append(p.pages, more(1, 100, 50), busy, workflows.ComparePageResult{})
	p.after(30*time.Second, func() {
		require.True(t, p.progress(t).Busy)
		require.Contains(t, p.progress(t).String(), "waits until less is to be read")
	})

	end := p.pass(t, workflows.BackfillInput{Provider: provider.Stripe})

	require.Equal(t, 2, end.Pages)
	var waits []time.Duration
	for i := 2; i < len(p.calls)-1; i++ {
		waits = append(waits, (p.at[i] - p.at[i-1]).Round(time.Second))
	}
	second := time.Second
	require.Equal(t, []time.Duration{
		second, 2 * second, 4 * second, 8 * second, 16 * second, 32 * second, time.Minute, time.Minute, time.Minute, 0, second,
	}, waits)
}

func TestAPassThatIsStoppedByItsProviderGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	shown := p.upserts()
	p.pages = []workflows.ComparePageResult{more(1, 100, 0), {Compared: 1}}
	down := temporal.NewNonRetryableApplicationError("stripe: transient: provider_down", string(provider.Transient), nil)
	p.script(compare, nil, down)
	p.after(5*time.Minute, func() {
		now := p.progress(t)
		require.Equal(t, 1, now.Pages)
		require.Equal(t, step.ForProvider, now.Steps[0].WaitsFor)
		require.Equal(t, "stripe: transient: provider_down", now.Steps[0].LastError)
		p.providerUp(provider.Stripe)
	})

	end := p.pass(t, workflows.BackfillInput{Provider: provider.Stripe})

	require.Equal(t, []string{begin, compare, compare, workflows.ActivityParkStep, compare, healed}, p.calls)
	require.Equal(t, []string{"stripe_backfill"}, []string{p.parked[0].Step})
	require.Equal(t, *at(1), p.comparing[1].Cursor)
	require.Equal(t, 2, end.Pages)
	require.Equal(t, []map[string]string{
		{workflows.SearchStatus: workflows.StatusWaitingOnProvider, workflows.SearchBlockedOn: "stripe"},
		{workflows.SearchStatus: workflows.StatusRunning},
	}, *shown, "there is no customer that it is about")
}

func TestAPassThatIsRefusedEndsWhenAPersonSkipsIt(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	p.script(compare, failing(provider.Rejected, "parameter_unknown"))
	p.after(time.Hour, func() { p.say(workflows.UpdateSkip, workflows.StepInput{Step: "stripe_backfill"}) })
	end := p.pass(t, workflows.BackfillInput{Provider: provider.Stripe})
	require.Equal(t, []string{begin, compare, workflows.ActivityParkStep, workflows.ActivitySkipStep}, p.calls)
	require.Equal(t, workflows.BackfillComparing, end.Stage)
	require.Equal(t, step.Skipped, end.Steps[0].Status)
}

func TestAPassBeginsAnewWhenStripeLosesItsPlace(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	p.pages = []workflows.ComparePageResult{more(1, 100, 0), {Lost: true}, more(1, 99, 0), {Compared: 3}}
	p.pass(t, workflows.BackfillInput{Provider: provider.Stripe})
	require.Len(t, p.comparing, 4)
	require.Equal(t, workflows.BackfillCursor{}, p.comparing[2].Cursor)
}

func TestWhomAPassMarksThoughNothingDiffers(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		in   workflows.BackfillInput
		want []string
		// before is since when they should have been read: so long before the pass began, or ever.
		before time.Duration
		ever   bool
	}{
		"Stripe daily":       {in: workflows.BackfillInput{Provider: provider.Stripe}, want: []string{begin, compare, healed}},
		"everyone at Stripe": {in: workflows.BackfillInput{Provider: provider.Stripe, Everyone: true}, want: []string{begin, compare, mark, mark, healed}, ever: true},
		"PayPal daily":       {in: workflows.BackfillInput{Provider: provider.PayPal}, want: []string{begin, mark, mark, healed}, before: 20 * time.Hour},
		"everyone at PayPal": {in: workflows.BackfillInput{Provider: provider.PayPal, Everyone: true}, want: []string{begin, mark, mark, healed}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setupPass(t)
			p.marks = []workflows.MarkUnreadResult{{Marked: 7, Next: "u_7"}}
			end := p.pass(t, c.in)
			require.Equal(t, c.want, p.calls)
			if len(p.marking) == 0 {
				require.Zero(t, end.Marked)
				return
			}
			require.Equal(t, 7, end.Marked)
			require.Equal(t, "u_7", p.marking[1].After)
			require.Equal(t, c.in.Everyone, p.marking[0].Everyone)
			want := p.began.UTC().Add(-c.before)
			if c.ever {
				want = time.Time{}
			}
			require.True(t, want.Equal(p.marking[0].Before), "%s", p.marking[0].Before)
		})
	}
}

func TestAPassOverNobodyIsOver(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	p.customers = 0
	require.Equal(t, workflows.BackfillDone, p.pass(t, workflows.BackfillInput{Provider: provider.Stripe, Everyone: true}).Stage)
	require.Equal(t, []string{begin}, p.calls)
}

func TestAPassDoesNotWaitForEverForTheLast(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	for range 1000 {
		p.counts = append(p.counts, workflows.CountHealedResult{Healed: 1, Unread: 2})
	}
	end := p.pass(t, workflows.BackfillInput{Provider: provider.Stripe})
	require.Equal(t, workflows.BackfillDone, end.Stage)
	require.Equal(t, 2, end.Unread)
	took := p.at[len(p.at)-1]
	require.InDelta(t, time.Hour, took, float64(2*time.Minute))
}

func TestALongPassContinuesAsNewWhereItIs(t *testing.T) {
	t.Parallel()
	first := setupPass(t)
	for i := range 1000 {
		first.pages = append(first.pages, more(i, 100, 1))
	}
	first.execute(workflows.BackfillInput{Provider: provider.Stripe, Everyone: true})
	carried := first.continued(t)
	require.Equal(t, 249, carried.Progress.Pages, "its history is kept short")
	require.True(t, carried.Everyone)

	second := setupPass(t)
	second.pages = []workflows.ComparePageResult{{Compared: 5}}
	end := second.pass(t, carried)
	require.Equal(t, []string{compare, mark, healed}, second.calls, "it is begun once")
	require.Equal(t, *at(248), second.comparing[0].Cursor)
	require.Equal(t, 250, end.Pages)
	require.Equal(t, 249, end.Differing)
	require.True(t, first.began.UTC().Equal(second.comparing[0].StartedAt))
}

func TestAPassContinuesAsNewWhenTemporalSuggestsIt(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	p.suggestContinueAsNew()
	p.execute(workflows.BackfillInput{Provider: provider.PayPal})
	require.Equal(t, workflows.BackfillStarting, p.continued(t).Progress.Stage)
}

func TestAPassIsAtAProviderThatWeKnow(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	p.execute(workflows.BackfillInput{Provider: "paddle"})
	require.ErrorContains(t, p.env.GetWorkflowError(), "provider: must be stripe or paypal")
}

func TestTheDailyPassStartsOneAtEveryProvider(t *testing.T) {
	t.Parallel()
	p := setupPass(t)
	p.customers = 0
	p.env.RegisterWorkflowWithOptions(workflows.SubscriptionBackfill, workflow.RegisterOptions{Name: workflows.NameSubscriptionBackfill})
	var started []string
	p.env.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, _ converter.EncodedValues) {
		started = append(started, info.WorkflowExecution.ID)
	})
	p.env.ExecuteWorkflow(workflows.SubscriptionDrift)
	require.NoError(t, p.env.GetWorkflowError())
	require.Equal(t, []string{"subscription-backfill/stripe", "subscription-backfill/paypal"}, started)
}
