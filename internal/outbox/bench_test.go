package outbox_test

import (
	"fmt"
	"testing"

	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/outbox"
)

// BenchmarkDispatcher delivers starts to a dev server, by one dispatcher.
func BenchmarkDispatcher(bm *testing.B) {
	b := setup(bm, temporaltest.Start(bm))
	messages := make([]outbox.Message, bm.N)
	for i := range messages {
		messages[i] = b.start(fmt.Sprint(i))
	}
	b.write(bm, messages...)
	bm.ResetTimer()
	b.dispatch(bm, outbox.Options{})
	b.awaitDelivered(bm)
	bm.ReportMetric(float64(bm.N)/bm.Elapsed().Seconds(), "messages/s")
}
