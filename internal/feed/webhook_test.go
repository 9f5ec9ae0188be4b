package feed_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
)

// secret makes the secret of a letter.
func secret(letter string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

// app is a receiver of webhooks that keeps what it got.
type app struct {
	*httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc
	posts  []post
}

type post struct {
	method string
	header http.Header
	body   []byte
}

func startApp(t *testing.T, answer http.HandlerFunc) *app {
	t.Helper()
	a := &app{answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		a.mu.Lock()
		a.posts = append(a.posts, post{r.Method, r.Header, body})
		a.mu.Unlock()
		if err == nil {
			a.answer(w, r)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *app) got() []post {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.posts
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func change() feed.Change {
	return feed.Change{
		Seq: 7, At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Type: feed.SubscriptionChanged, CustomerID: "u_1",
		Data: json.RawMessage(`{"status": "active"}`),
	}
}

// While a secret is rolled, the app may verify with the old one or the new one.
func TestPostsAreSignedWithEverySecret(t *testing.T) {
	t.Parallel()
	a := startApp(t, answer(http.StatusNoContent))
	webhook, err := feed.NewWebhook(a.URL+"/hook", []string{secret("n"), secret("o")}, 0)
	require.NoError(t, err)

	require.NoError(t, webhook.Post(t.Context(), change()))

	got := a.got()[0]
	require.Equal(t, http.MethodPost, got.method)
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.JSONEq(t, `{"type":"subscription.changed","timestamp":"2026-01-02T03:04:05.000006Z",
		"data":{"seq":7,"customer_id":"u_1","status":"active"}}`, string(got.body))
	for _, s := range []string{secret("n"), secret("o")} {
		verifier, err := standardwebhooks.NewWebhook(s)
		require.NoError(t, err)
		require.NoError(t, verifier.Verify(got.body, got.header))
	}
	stranger, err := standardwebhooks.NewWebhook(secret("s"))
	require.NoError(t, err)
	require.Error(t, stranger.Verify(got.body, got.header))
}

func TestAChangeHasOneWebhookID(t *testing.T) {
	t.Parallel()
	a := startApp(t, answer(http.StatusOK))
	webhook, err := feed.NewWebhook(a.URL, []string{secret("n")}, 0)
	require.NoError(t, err)
	restored := change()
	restored.At = restored.At.Add(time.Hour) // the number is given again after a restored backup
	for _, c := range []feed.Change{change(), change(), restored} {
		require.NoError(t, webhook.Post(t.Context(), c))
	}

	ids := make([]string, 3)
	for i, p := range a.got() {
		ids[i] = p.header.Get("Webhook-Id")
	}
	require.Equal(t, ids[0], ids[1])
	require.NotEqual(t, ids[0], ids[2])
	require.NotContains(t, ids[0], ".", "it is what separates the id from the rest in what is signed")
}

func TestAnswersOfTheApp(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		status     int
		retryAfter string
		want       *feed.PostError
	}{
		"OK":                 {status: 200},
		"accepted":           {status: 202},
		"a redirect":         {status: 302, want: &feed.PostError{Code: "http_302"}},
		"not found":          {status: 404, want: &feed.PostError{Code: "http_404"}},
		"gone":               {status: 410, want: &feed.PostError{Code: "http_410", Final: true}},
		"too many":           {status: 429, retryAfter: "120", want: &feed.PostError{Code: "http_429", RetryAfter: 2 * time.Minute}},
		"away for very long": {status: 503, retryAfter: "1000000", want: &feed.PostError{Code: "http_503", RetryAfter: 4 * time.Hour}},
		"away until long ago": {
			status: 503, retryAfter: "Mon, 02 Jan 2006 15:04:05 GMT", want: &feed.PostError{Code: "http_503"},
		},
		"a nonsensical wish": {status: 500, retryAfter: "soon", want: &feed.PostError{Code: "http_500"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.status)
			})
			webhook, err := feed.NewWebhook(a.URL, []string{secret("n")}, 0)
			require.NoError(t, err)
			err = webhook.Post(t.Context(), change())
			require.Len(t, a.got(), 1, "redirects are not followed")
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.Equal(t, c.want, err)
		})
	}
}

func TestAnAppThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	hanging := startApp(t, func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) })
	away := startApp(t, answer(http.StatusOK))
	away.Close()
	untrusted := httptest.NewTLSServer(answer(http.StatusOK))
	t.Cleanup(untrusted.Close)
	for address, c := range map[string]struct {
		timeout time.Duration
		code    string
	}{
		hanging.URL: {500 * time.Millisecond, feed.CodeTimeout}, away.URL: {time.Minute, feed.CodeUnreachable}, untrusted.URL: {time.Minute, feed.CodeCertificate},
	} {
		webhook, err := feed.NewWebhook(address+"/?token=hunter2", []string{secret("n")}, c.timeout)
		require.NoError(t, err)
		err = webhook.Post(t.Context(), change())
		require.Equal(t, &feed.PostError{Code: c.code}, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// An answer without end does not hold up the worker.
func TestAnEndlessAnswerIsCut(t *testing.T) {
	t.Parallel()
	a := startApp(t, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	webhook, err := feed.NewWebhook(a.URL, []string{secret("n")}, time.Minute)
	require.NoError(t, err)
	require.NoError(t, webhook.Post(t.Context(), change()))
}

func TestAddressesOfWebhooks(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"https://app.example.com/hook", "http://127.0.0.1:3000/hook", "http://[::1]:3000", "http://localhost:3000", "http://10.1.2.3/hook",
		"http://app:3000/hook", "http://host.docker.internal/hook",
	} {
		require.NoError(t, feed.CheckWebhookURL(good), good)
	}
	for _, bad := range []string{
		"", "app.example.com", "/hook", "ftp://app.example.com", "http://app.example.com/hook", "http://8.8.8.8/", "https://", "https://user:hunter2@ex ample.com",
	} {
		err := feed.CheckWebhookURL(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestSecretsOfWebhooks(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string][]string{
		"none": nil, "no prefix": {secret("n"), strings.TrimPrefix(secret("o"), "whsec_")}, "too short": {"whsec_" + base64.StdEncoding.EncodeToString([]byte("hunter2"))},
		"no base64": {"whsec_hunter2!"}, "empty": {""},
	} {
		_, err := feed.NewWebhook("https://app.example.com", secrets, 0)
		require.ErrorContains(t, err, "secret", name)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
