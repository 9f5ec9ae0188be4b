package config_test

import (
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// policy is what flags make of the settings, beside their defaults.
func policy(t *testing.T, flags ...string) (payout.Policy, error) {
	t.Helper()
	var settings struct {
		Payouts config.Payouts `embed:""`
	}
	parser, err := kong.New(&settings)
	require.NoError(t, err)
	if _, err := parser.Parse(flags); err != nil {
		return payout.Policy{}, err
	}
	return settings.Payouts.Policy()
}

func TestThePolicyIsTheDefaultOneUnlessTold(t *testing.T) {
	t.Parallel()
	got, err := policy(t)
	require.NoError(t, err)
	want := payout.DefaultPolicy()
	want.ApprovalAbove = map[money.Currency]int64{}
	require.Equal(t, want, got)
}

func TestThePolicyIsAsTold(t *testing.T) {
	t.Parallel()
	got, err := policy(t, "--payout-minimums=usd=25,JPY=500", "--payout-instant-caps=usd=500.00", "--payout-instant-fee-percent=5",
		"--payout-approval-above=usd=100000,jpy=0", "--payout-default-schedule=monthly", "--payout-destination-wait=24h", "--payout-paypal-fee-waived=DE", "--payout-look-within=6h", "--payout-account-age=48h", "--payout-paypal-batch-size=15000")
	require.NoError(t, err)
	require.EqualValues(t, 25_00, got.Currencies["usd"].Minimum)
	require.EqualValues(t, 500, got.Currencies["jpy"].Minimum, "yen have no decimals")
	require.Zero(t, got.Currencies["jpy"].InstantCap)
	require.EqualValues(t, 500_00, got.Currencies["usd"].InstantCap)
	require.EqualValues(t, 5, got.InstantFeePercent)
	require.Equal(t, map[money.Currency]int64{"usd": 100_000_00, "jpy": 0}, got.ApprovalAbove)
	require.Equal(t, payout.Monthly, got.DefaultSchedule)
	require.Equal(t, 24*time.Hour, got.DestinationWait)
	require.Equal(t, []string{"DE"}, got.PayPalFeeWaived)
	require.Equal(t, 6*time.Hour, got.LookWithin)
	require.Equal(t, 48*time.Hour, got.AccountAge)
	require.Equal(t, 15_000, got.PayPalBatchSize)
}

func TestAWrongPolicyNamesTheVariable(t *testing.T) {
	t.Parallel()
	for variable, flag := range map[string]string{
		"HOLDFAST_PAYOUT_MINIMUMS":             "--payout-minimums=usd=ten",
		"HOLDFAST_PAYOUT_INSTANT_CAPS":         "--payout-instant-caps=xxq=10",
		"HOLDFAST_PAYOUT_INSTANT_MINIMUMS":     "--payout-instant-minimums=usd=0",
		"HOLDFAST_PAYOUT_PAYPAL_CAPS":          "--payout-paypal-caps=usd=-1",
		"HOLDFAST_PAYOUT_MINIMUMS has nothing": "--payout-paypal-caps=eur=10000",
		"HOLDFAST_PAYOUT_APPROVAL_ABOVE":       "--payout-approval-above=usd=1.234",
		"HOLDFAST_PAYOUT_DEFAULT_SCHEDULE":     "--payout-default-schedule=hourly",
		"HOLDFAST_PAYOUT_DESTINATION_WAIT":     "--payout-destination-wait=-1h",
		"HOLDFAST_PAYOUT_REFUSAL_WAIT":         "--payout-refusal-wait=-1h",
		"HOLDFAST_PAYOUT_LOOK_WITHIN":          "--payout-look-within=59m",
		"HOLDFAST_PAYOUT_ACCOUNT_AGE":          "--payout-account-age=59m",
		"HOLDFAST_PAYOUT_PAYPAL_BATCH_SIZE":    "--payout-paypal-batch-size=15001",
		"HOLDFAST_PAYOUT_PAYPAL_FEE_WAIVED":    "--payout-paypal-fee-waived=Brazil",
		"HOLDFAST_PAYOUT_*":                    "--payout-instant-fee-percent=100",
	} {
		_, err := policy(t, flag)
		require.ErrorContains(t, err, variable, flag)
	}
}
