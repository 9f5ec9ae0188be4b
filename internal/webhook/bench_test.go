package webhook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkStripe is what an event of 2 kB costs before it is stored.
func BenchmarkStripe(b *testing.B) {
	reader := setupStripe(b, nil)
	body := stripeEvent("invoice.paid", `"customer": "cus_1", "metadata": {"filling": "`+strings.Repeat("x", 1800)+`"}`)
	header := stripeHeader(body, time.Now(), secret)
	for b.Loop() {
		_, err := reader.Read(b.Context(), header, body)
		require.NoError(b, err)
	}
}
