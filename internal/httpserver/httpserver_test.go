package httpserver_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/httpserver"
)

// freeAddress is one that nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

func TestRunLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	arrived, answer := make(chan struct{}), make(chan struct{})
	handler := http.NewServeMux()
	handler.HandleFunc("/up", func(http.ResponseWriter, *http.Request) {})
	handler.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		w.WriteHeader(http.StatusTeapot)
	})
	address, ended, status := freeAddress(t), make(chan error, 1), make(chan int, 1)
	go func() { ended <- httpserver.Run(ctx, "HOLDFAST_LISTEN", address, handler) }()
	get := func(path string) int {
		response, err := http.Get("http://" + address + path)
		if err != nil {
			return 0
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	require.Eventually(t, func() bool { return get("/up") == http.StatusOK }, time.Minute, time.Millisecond)
	go func() { status <- get("/slow") }()
	<-arrived

	stop()
	require.Eventually(t, func() bool { return get("/up") == 0 }, time.Minute, time.Millisecond, "no new requests are taken")
	require.Empty(t, ended)
	close(answer)

	require.Equal(t, http.StatusTeapot, <-status)
	require.NoError(t, <-ended)
}

func TestRunNamesTheVariableOfAnAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	err = httpserver.Run(t.Context(), "HOLDFAST_LISTEN", taken.Addr().String(), http.NotFoundHandler())
	require.ErrorContains(t, err, "HOLDFAST_LISTEN")
	require.ErrorContains(t, err, taken.Addr().String())
}
