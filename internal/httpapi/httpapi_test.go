package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/httpapi"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/workflows"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

const (
	appKey      = "the-key-of-the-app"
	operatorKey = "the-key-of-the-operator"
	payoutsKey  = "the-key-for-payouts-only"
)

// bundle is an API on a real database, with a Temporal that does what the test says.
type bundle struct {
	url      string
	api      *httpapi.API
	stop     func() // what the API does beside answering
	pool     *pgxpool.Pool
	temporal *scriptedTemporal
	notified *counter
	observed *observations
	log      *syncBuffer
	webhooks *webhookOutcomes
}

func setup(t *testing.T) bundle {
	t.Helper()
	return setupOn(t, postgrestest.New(t))
}

func setupOn(t *testing.T, pool *pgxpool.Pool) bundle {
	t.Helper()
	app, err := config.ParseKeys("app:"+appKey+",payer:"+payoutsKey+"@payouts", config.ScopeCustomers, config.ScopePayouts)
	require.NoError(t, err)
	operators, err := config.ParseKeys("olga:"+operatorKey, config.ScopeOps)
	require.NoError(t, err)
	keys, err := app.And(operators)
	require.NoError(t, err)
	b := bundle{pool: pool, temporal: &scriptedTemporal{}, notified: &counter{}, observed: &observations{}, log: &syncBuffer{}}
	b.webhooks = &webhookOutcomes{seen: map[string]int{}}
	b.api = httpapi.New(httpapi.Deps{
		Pool: pool, Customers: customersOn(pool), Temporal: b.temporal, Keys: keys, Notify: b.notified.add, Requests: b.observed,
		Log: slog.New(slog.NewJSONHandler(b.log, nil)), Subscriptions: subscriptionsOn(pool), Payouts: payoutsOn(pool), Webhooks: b.takeWebhooks(t), DeliversChanges: true,
	})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		b.api.Run(ctx)
		close(done)
	}()
	b.stop = func() {
		stop()
		<-done
	}
	t.Cleanup(b.stop)
	server := httptest.NewServer(b.api.Handler())
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *counter) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// observations are what the API told its metrics.
type observations struct {
	mu   sync.Mutex
	seen []string
}

func (o *observations) ObserveRequest(_ context.Context, method, route string, status int, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, fmt.Sprintf("%s [%s] %d", method, route, status))
}

func (o *observations) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (s *syncBuffer) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(line)
}

func (s *syncBuffer) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// scriptedTemporal answers updates as it is told. Its zero value is a Temporal that is away.
type scriptedTemporal struct {
	mu      sync.Mutex
	update  func(ctx context.Context) error
	result  workflows.SyncResult // of an update that succeeds
	health  func(ctx context.Context) error
	updates []string
	inputs  []any // of the updates
	started []client.StartWorkflowOptions
	bounds  []time.Duration // how long each update was given
}

var errAway = errors.New("connection refused")

func (s *scriptedTemporal) NewWithStartWorkflowOperation(o client.StartWorkflowOptions, _ any, _ ...any) client.WithStartWorkflowOperation {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, o)
	return nil
}

func (s *scriptedTemporal) UpdateWithStartWorkflow(ctx context.Context, o client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates = append(s.updates, o.UpdateOptions.UpdateName)
	s.inputs = append(s.inputs, o.UpdateOptions.Args...)
	deadline, _ := ctx.Deadline()
	s.bounds = append(s.bounds, time.Until(deadline))
	if s.update == nil {
		return nil, errAway
	}
	return decided{s.update(ctx), s.result}, nil
}

// asked are the updates, each after the id of the workflow that got it.
func (s *scriptedTemporal) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]string, len(s.updates))
	for i, update := range s.updates {
		all[i] = s.started[i].ID + " " + update
	}
	return all
}

// told are the inputs of the updates.
func (s *scriptedTemporal) told() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.inputs)
}

func (s *scriptedTemporal) CheckHealth(ctx context.Context, _ *client.CheckHealthRequest) (*client.CheckHealthResponse, error) {
	if s.health == nil {
		return nil, errAway
	}
	return &client.CheckHealthResponse{}, s.health(ctx)
}

type decided struct {
	err    error
	result workflows.SyncResult
}

func (decided) WorkflowID() string { return "" }
func (decided) RunID() string      { return "" }
func (decided) UpdateID() string   { return "" }
func (d decided) Get(_ context.Context, into any) error {
	if result, ok := into.(*workflows.SyncResult); ok {
		*result = d.result
	}
	return d.err
}

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (b bundle) call(t *testing.T, method, path, key, body string, change ...func(*http.Request)) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	for _, c := range change {
		c(request)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	r := reply{status: response.StatusCode, header: response.Header, text: string(text)}
	if strings.Contains(response.Header.Get("Content-Type"), "json") {
		require.NoError(t, json.Unmarshal(text, &r.body), "%s", text)
	}
	return r
}

func (b bundle) create(t *testing.T, id string) {
	t.Helper()
	r := b.call(t, "POST", "/v1/customers", appKey, fmt.Sprintf(`{"id":%q,"email":"%s@example.com"}`, id, id))
	require.Equal(t, http.StatusCreated, r.status, r.text)
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (b bundle) count(t *testing.T, sql string) (n int) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

// requireProblem holds an answer to RFC 9457, and to naming the field that is wrong.
func requireProblem(t *testing.T, r reply, status int, location string) {
	t.Helper()
	require.Equal(t, status, r.status, r.text)
	require.Contains(t, r.header.Get("Content-Type"), "application/problem+json")
	require.InDelta(t, status, r.body["status"], 0)
	require.NotEmpty(t, r.body["detail"])
	if location == "" {
		return
	}
	var named []string
	details, _ := r.body["errors"].([]any)
	for _, d := range details {
		detail, _ := d.(map[string]any)
		named = append(named, fmt.Sprint(detail["location"]))
		require.NotContains(t, detail, "value", "the value may be personal data")
	}
	require.Contains(t, named, location, r.text)
}

func TestCreateAnswersFromPostgresAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := `{"id":"u_1","email":"ada@example.com","name":"Ada","country":"US","promo_code":"SPRING","metadata":{"plan":"pro"}}`

	first := b.call(t, "POST", "/v1/customers", appKey, body)
	again := b.call(t, "POST", "/v1/customers", appKey, body)
	other := b.call(t, "POST", "/v1/customers", appKey, strings.Replace(body, "Ada", "Bob", 1))

	require.Equal(t, http.StatusCreated, first.status, first.text)
	require.Equal(t, "onboarding", first.body["status"])
	require.Equal(t, "onboarding/u_1", first.body["onboarding"].(map[string]any)["workflow_id"])
	require.Equal(t, http.StatusOK, again.status, again.text)
	requireProblem(t, other, http.StatusConflict, "body.id")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`))
	require.Empty(t, b.temporal.updates)
	require.Equal(t, 1, b.notified.n)
}

func TestBadInputNamesTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "there")
	json := func(body string) [3]string { return [3]string{"POST", "/v1/customers", body} }
	cases := map[string]struct {
		request  [3]string
		status   int
		location string
	}{
		"no e-mail":                {json(`{"id":"u_1"}`), 422, "body.email"},
		"no id":                    {json(`{"email":"a@example.com"}`), 422, "body.id"},
		"empty id":                 {json(`{"id":"","email":"a@example.com"}`), 422, "body.id"},
		"NUL in the name":          {json(`{"id":"u_1","email":"a@example.com","name":"\u0000"}`), 422, "body.name"},
		"metadata of a wrong type": {json(`{"id":"u_1","email":"a@example.com","metadata":{"seats":7}}`), 422, "body.metadata.seats"},
		"more after the JSON":      {json(`{"id":"u_1","email":"a@example.com"} {}`), 400, ""},
		"no body":                  {json(""), 400, ""},
		"malformed e-mail":         {json(`{"id":"u_1","email":"nobody"}`), 422, "body.email"},
		"an e-mail as id":          {json(`{"id":"a@example.com","email":"a@example.com"}`), 422, "body.id"},
		"malformed country":        {json(`{"id":"u_1","email":"a@example.com","country":"usa"}`), 422, "body.country"},
		"wrong type":               {json(`{"id":"u_1","email":7}`), 422, "body.email"},
		"unknown field":            {json(`{"id":"u_1","email":"a@example.com","colour":"red"}`), 422, "body.colour"},
		"foreign Stripe id":        {json(`{"id":"u_1","email":"a@example.com","stripe_customer_id":"acct_1"}`), 422, "body.stripe_customer_id"},
		"reserved metadata":        {json(`{"id":"u_1","email":"a@example.com","metadata":{"holdfast_customer_id":"x"}}`), 422, "body.metadata"},
		"malformed JSON":           {json(`{"id":`), 400, ""},
		"a list":                   {json(`[]`), 422, "body"},
		"oversized body":           {json(`{"id":"u_1","email":"a@example.com","name":"` + strings.Repeat("x", 1<<20) + `"}`), 413, ""},
		"unknown customer":         {[3]string{"GET", "/v1/customers/nobody", ""}, 404, "path.id"},
		"an id with a NUL":         {[3]string{"GET", "/v1/customers/%00", ""}, 404, "path.id"},
		"an id that is no UTF-8":   {[3]string{"GET", "/v1/customers/%ff", ""}, 404, "path.id"},
		"change of no UTF-8":       {[3]string{"PATCH", "/v1/customers/%ff", `{"name":"x"}`}, 404, "path.id"},
		"ensure for no UTF-8":      {[3]string{"POST", "/v1/customers/%ff/ensure-billing", ""}, 404, "path.id"},
		"change of nobody":         {[3]string{"PATCH", "/v1/customers/nobody", `{"name":"x"}`}, 404, "path.id"},
		"change of nothing":        {[3]string{"PATCH", "/v1/customers/there", `{}`}, 422, "body.email"},
		"change to no e-mail":      {[3]string{"PATCH", "/v1/customers/there", `{"email":""}`}, 422, "body.email"},
		"change of the id":         {[3]string{"PATCH", "/v1/customers/there", `{"id":"other"}`}, 422, "body.id"},
		"negative wait":            {[3]string{"POST", "/v1/customers/there/ensure-billing?wait_ms=-1", ""}, 422, "query.wait_ms"},
		"too long a wait":          {[3]string{"POST", "/v1/customers/there/ensure-billing?wait_ms=30001", ""}, 422, "query.wait_ms"},
		"a wait that is no number": {[3]string{"POST", "/v1/customers/there/ensure-billing?wait_ms=soon", ""}, 422, "query.wait_ms"},
		"unknown parameter":        {[3]string{"POST", "/v1/customers/there/ensure-billing?wait=5", ""}, 422, "query.wait"},
		"ensure for nobody":        {[3]string{"POST", "/v1/customers/nobody/ensure-billing", ""}, 404, "path.id"},
		"unknown path":             {[3]string{"GET", "/v1/nothing", ""}, 404, ""},
		"wrong method":             {[3]string{"DELETE", "/v1/customers/there", ""}, 405, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireProblem(t, b.call(t, c.request[0], c.request[1], appKey, c.request[2]), c.status, c.location)
		})
	}
	t.Cleanup(func() {
		// The cases ran by now, and none of them changed anything.
		var customers int
		if err := b.pool.QueryRow(context.WithoutCancel(t.Context()), `SELECT count(*) FROM customers WHERE profile_version = 1`).Scan(&customers); err == nil && customers != 1 {
			t.Errorf("bad input changed something: %d customers", customers)
		}
	})
}

func TestManyCreationsOfOneIDAreOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const creations = 200
	statuses := make([]int, creations)
	var wg sync.WaitGroup
	for i := range creations {
		wg.Go(func() {
			statuses[i] = b.call(t, "POST", "/v1/customers", appKey, `{"id":"u_1","email":"a@example.com"}`).status
		})
	}
	wg.Wait()

	slices.Sort(statuses)
	require.Equal(t, append(slices.Repeat([]int{http.StatusOK}, creations-1), http.StatusCreated), statuses)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM customers`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM steps`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`))
}

func TestChangeIsStoredAndHandedOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `UPDATE steps SET status = 'done'`)

	first := b.call(t, "PATCH", "/v1/customers/u_1", appKey, `{"email":"new@example.com"}`)
	again := b.call(t, "PATCH", "/v1/customers/u_1", appKey, `{"email":"new@example.com"}`)

	for _, r := range []reply{first, again} {
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, "new@example.com", r.body["email"])
		require.Equal(t, "onboarding", r.body["status"])
	}
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM steps WHERE name = 'stripe_profile' AND status = 'pending'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'signal' = 'profile_changed'`))
}

func TestOversizedBodyOfUnknownLength(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.call(t, "POST", "/v1/customers", appKey, `{"name":"`+strings.Repeat("x", 1<<20)+`"}`, func(r *http.Request) { r.ContentLength = -1 })
	requireProblem(t, r, http.StatusRequestEntityTooLarge, "")
}

func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.call(t, "DELETE", "/v1/customers/u_1", appKey, "")
	requireProblem(t, r, http.StatusMethodNotAllowed, "")
	require.Equal(t, "GET, PATCH", r.header.Get("Allow"))
}

func TestTheNameOfTheSchemeIsInAnyCase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	r := b.call(t, "GET", "/v1/customers/u_1", "", "", func(r *http.Request) { r.Header.Set("Authorization", "bearer "+appKey) })
	require.Equal(t, http.StatusOK, r.status)
}

func TestRequestsAreLoggedAndCountedWithoutPersonalData(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	r := b.call(t, "GET", "/v1/customers/u_1", appKey, "")
	b.call(t, "GET", "/v1/nothing", appKey, "")
	b.call(t, "GET", "/healthz", "", "")
	b.call(t, "POST", "/v1/customers", appKey, `{"id":"u_2","email":"malformed.example.com"}`)

	require.Eventually(t, func() bool { return len(b.observed.all()) == 5 }, time.Minute, time.Millisecond)
	require.Equal(t, []string{
		"POST [POST /v1/customers] 201", "GET [GET /v1/customers/{id}] 200", "GET [/] 404", "GET [GET /healthz] 200", "POST [POST /v1/customers] 422",
	}, b.observed.all())
	require.Eventually(t, func() bool { return strings.Count(b.log.text(), "\n") == 4 }, time.Minute, time.Millisecond)
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(strings.Split(b.log.text(), "\n")[1]), &line))
	require.Equal(t, "GET /v1/customers/{id}", line["route"])
	require.InDelta(t, http.StatusOK, line["status"], 0)
	require.Equal(t, "app", line["key"])
	require.Equal(t, r.header.Get("Request-Id"), line["request_id"])
	for _, private := range []string{"example.com", appKey, "u_1", "healthz"} {
		require.NotContains(t, b.log.text(), private)
	}
}

func TestOurOwnFaultsAreLoggedAndNotShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `DROP TABLE outbox`)
	r := b.call(t, "POST", "/v1/customers", appKey, `{"id":"u_1","email":"a@example.com"}`)
	requireProblem(t, r, http.StatusInternalServerError, "")
	require.NotContains(t, r.text, "outbox")
	require.Contains(t, b.log.text(), `relation \"outbox\" does not exist`)
	require.Contains(t, b.log.text(), r.header.Get("Request-Id"))
	require.NotContains(t, b.log.text(), "example.com")
}

func TestAPanicIsAnsweredAndSurvived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.temporal.update = func(context.Context) error { panic("a mistake of ours") }
	r := b.call(t, "POST", "/v1/customers/u_1/ensure-billing", appKey, "")
	requireProblem(t, r, http.StatusInternalServerError, "")
	require.NotContains(t, r.text, "mistake")
	require.Contains(t, b.log.text(), "a mistake of ours")
	require.Contains(t, b.log.text(), r.header.Get("Request-Id"))
	require.Contains(t, b.observed.all(), "POST [POST /v1/customers/{id}/ensure-billing] 500")
	require.Equal(t, http.StatusOK, b.call(t, "GET", "/v1/customers/u_1", appKey, "").status)
}

// unreachable is a database that nobody serves.
func unreachable(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://holdfast@127.0.0.1:1/holdfast")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func TestADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	b := setupOn(t, unreachable(t))
	requireProblem(t, b.call(t, "POST", "/v1/customers", appKey, `{"id":"u_1","email":"a@example.com"}`), http.StatusServiceUnavailable, "")
	requireProblem(t, b.call(t, "GET", "/v1/customers/u_1", appKey, ""), http.StatusServiceUnavailable, "")
	r := b.call(t, "GET", "/readyz", "", "")
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Equal(t, "unreachable", r.body["postgres"])
	require.Equal(t, http.StatusOK, b.call(t, "GET", "/healthz", "", "").status)
}

func TestReadinessNeedsTheMigrations(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), postgrestest.UnmigratedURL(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	r := setupOn(t, pool).call(t, "GET", "/readyz", "", "")
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Equal(t, "not_migrated", r.body["postgres"])
}

func TestWrongContentType(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.call(t, "POST", "/v1/customers", appKey, "id=u_1", func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	})
	requireProblem(t, r, http.StatusUnsupportedMediaType, "")
}

func TestKeysAndScopes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	cases := map[string]struct {
		method, path, key string
		status            int
	}{
		"no key":                               {"GET", "/v1/customers/u_1", "", 401},
		"a wrong key":                          {"GET", "/v1/customers/u_1", "nonsense", 401},
		"a key in front of another":            {"GET", "/v1/customers/u_1", appKey + " " + appKey, 401},
		"a key without the scope":              {"GET", "/v1/customers/u_1", payoutsKey, 403},
		"the app's key":                        {"GET", "/v1/customers/u_1", appKey, 200},
		"an operator may read a customer":      {"GET", "/v1/customers/u_1", operatorKey, 200},
		"an operator may not create":           {"POST", "/v1/customers", operatorKey, 403},
		"the app's key for an operator's call": {"GET", "/v1/ops/attention", appKey, 403},
		"the operator's key":                   {"GET", "/v1/ops/attention", operatorKey, 200},
		"health needs none":                    {"GET", "/healthz", "", 200},
		"readiness needs none":                 {"GET", "/readyz", "", 200},
		"the description needs none":           {"GET", "/openapi.json", "", 200},
		"the docs need none":                   {"GET", "/docs", "", 200},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := b.call(t, c.method, c.path, c.key, "")
			require.Equal(t, c.status, r.status, r.text)
			if c.status >= 400 {
				requireProblem(t, r, c.status, "")
			}
		})
	}
}

func TestEnsureBillingFallsBackToTheOutbox(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `DELETE FROM outbox`)

	away := b.call(t, "POST", "/v1/customers/u_1/ensure-billing", appKey, "")

	require.Equal(t, http.StatusAccepted, away.status, away.text)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'onboarding/u_1'`))
	require.NotContains(t, away.body["providers"].(map[string]any)["stripe"], "customer_id")
}

func TestEnsureBillingAnswersReadyWithoutTemporal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now(); UPDATE steps SET status = 'done'`)

	r := b.call(t, "POST", "/v1/customers/u_1/ensure-billing?wait_ms=1000", appKey, "")

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, "cus_1", r.body["providers"].(map[string]any)["stripe"].(map[string]any)["customer_id"])
	require.Empty(t, b.temporal.updates)
}

func TestEnsureBillingWaitsForTheWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.temporal.update = func(context.Context) error {
		b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now(); UPDATE steps SET status = 'done'`)
		return nil
	}
	r := b.call(t, "POST", "/v1/customers/u_1/ensure-billing?wait_ms=1000", appKey, "")
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, []string{workflows.UpdateEnsure}, b.temporal.updates)
	require.Equal(t, "onboarding/u_1", b.temporal.started[0].ID)
	require.Equal(t, enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, b.temporal.started[0].WorkflowIDConflictPolicy)
	require.Greater(t, b.temporal.bounds[0], time.Second, "the workflow's own answer comes first")
	require.Less(t, b.temporal.bounds[0], 10*time.Second)
}

func TestEnsureBillingLeavesTheWorkToARunningWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `DELETE FROM outbox`)
	b.temporal.update = func(context.Context) error { return nil } // heard, and the wait ended
	r := b.call(t, "POST", "/v1/customers/u_1/ensure-billing", appKey, "")
	require.Equal(t, http.StatusAccepted, r.status, r.text)
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox`))
}

func TestEnsureBillingOfAWorkflowThatTakesNoMoreUpdates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `DELETE FROM outbox`)
	b.temporal.update = func(context.Context) error {
		return serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT, "updates")
	}
	r := b.call(t, "POST", "/v1/customers/u_1/ensure-billing", appKey, "")
	require.Equal(t, http.StatusAccepted, r.status, r.text)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'onboarding/u_1'`))
}

func TestAnUnconfirmedStripeCustomerIsNotShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.call(t, "POST", "/v1/customers", appKey, `{"id":"u_1","email":"a@example.com","stripe_customer_id":"cus_1"}`)
	require.Equal(t, http.StatusCreated, r.status)
	require.NotContains(t, r.text, "cus_1")
}

// S6: the read does not wait, and the repair is handed over.
func TestReadingRepairsInTheBackground(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `DELETE FROM outbox; UPDATE customers SET updated_at = now() - interval '1 day'; UPDATE steps SET updated_at = now() - interval '1 day'`)
	require.Equal(t, http.StatusOK, b.call(t, "GET", "/v1/customers/u_1", appKey, "").status)
	require.Eventually(t, func() bool {
		return b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'onboarding/u_1'`) == 1
	}, time.Minute, 10*time.Millisecond)
}

// S6: whatever becomes of the repairs, reads are answered.
func TestReadsDoNotWaitForRepairs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	keys, err := config.ParseKeys("app:"+appKey, config.ScopeCustomers)
	require.NoError(t, err)
	// Nothing runs that would make the repairs.
	api := httpapi.New(httpapi.Deps{Pool: b.pool, Temporal: b.temporal, Keys: keys, Log: slog.New(slog.DiscardHandler), Customers: customersOn(b.pool), Subscriptions: subscriptionsOn(b.pool)}).Handler()
	for range httpapi.MaxRepairs + 10 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/customers/u_1", nil)
		r.Header.Set("Authorization", "Bearer "+appKey)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code)
	}
}

func TestReadingACustomerThatWaitsForAPersonRepairsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"waiting", "forgotten"} {
		b.create(t, id)
	}
	b.exec(t, `DELETE FROM outbox; UPDATE customers SET updated_at = now() - interval '1 day'; UPDATE steps SET updated_at = now() - interval '1 day'`)
	b.exec(t, blockOnPerson+` WHERE customer_id = 'waiting'`)
	b.call(t, "GET", "/v1/customers/waiting", appKey, "")
	b.call(t, "GET", "/v1/customers/forgotten", appKey, "") // they are looked into in turn
	require.Eventually(t, func() bool {
		return b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'onboarding/forgotten'`) == 1
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`))
}

const blockOnPerson = `UPDATE steps SET status = 'blocked', waits_for = 'person', blocked_at = now(), last_error = 'stripe: rejected: email_invalid'`

func TestVerdictsReachTheWorkflowAndAreRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, blockOnPerson)
	b.temporal.update = func(context.Context) error { return nil }

	retried := b.call(t, "POST", "/v1/ops/customers/u_1/steps/stripe_customer/retry", operatorKey, `{"note":"mended"}`)
	skipped := b.call(t, "POST", "/v1/ops/customers/u_1/steps/stripe_customer/skip", operatorKey, "")

	require.Equal(t, http.StatusOK, retried.status, retried.text)
	require.Equal(t, http.StatusOK, skipped.status, skipped.text)
	require.Equal(t, []string{workflows.UpdateRetry, workflows.UpdateSkip}, b.temporal.updates)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions
		WHERE actor = 'olga' AND action = 'retry' AND note = 'mended' AND subject = 'onboarding/u_1/stripe_customer'`))
}

// What was decided is recorded, also for an operator who did not wait for the answer.
func TestVerdictOfAnOperatorWhoLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, blockOnPerson)
	ctx, leave := context.WithCancel(t.Context())
	b.temporal.update = func(ctx context.Context) error {
		leave()
		<-ctx.Done() // the API has noticed
		return nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/v1/ops/customers/u_1/steps/stripe_customer/skip", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+operatorKey)
	_, err = http.DefaultClient.Do(request)
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		return b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'olga' AND action = 'skip'`) == 1
	}, time.Minute, 10*time.Millisecond)
}

func TestVerdictsThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	path := func(id, step string) string { return "/v1/ops/customers/" + id + "/steps/" + step + "/retry" }

	requireProblem(t, b.call(t, "POST", path("u_1", "stripe_customer"), operatorKey, ""), http.StatusConflict, "path.step")
	requireProblem(t, b.call(t, "POST", path("u_1", "nonsense"), operatorKey, ""), http.StatusNotFound, "path.step")
	requireProblem(t, b.call(t, "POST", path("nobody", "stripe_customer"), operatorKey, ""), http.StatusNotFound, "path.id")
	requireProblem(t, b.call(t, "POST", path("%ff", "stripe_customer"), operatorKey, ""), http.StatusNotFound, "path.id")
	requireProblem(t, b.call(t, "POST", path("u_1", "stripe_customer"), operatorKey, `{"note":"\u0000"}`), 422, "body.note")
	requireProblem(t, b.call(t, "POST", path("u_1", "stripe_customer"), operatorKey, `{"reason":"x"}`), 422, "body.reason")
	b.exec(t, blockOnPerson)
	requireProblem(t, b.call(t, "POST", path("u_1", "stripe_customer"), operatorKey, ""), http.StatusServiceUnavailable, "")
	b.temporal.update = func(context.Context) error {
		return temporal.NewApplicationError("it moved on", workflows.ErrStepNotWaiting)
	}
	requireProblem(t, b.call(t, "POST", path("u_1", "stripe_customer"), operatorKey, ""), http.StatusConflict, "path.step")
	require.Zero(t, b.count(t, `SELECT count(*) FROM operator_actions`))
}

func TestAttentionIsPagedOldestFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 5 {
		id := fmt.Sprintf("u_%d", i)
		b.create(t, id)
		b.exec(t, blockOnPerson+` WHERE customer_id = $1`, id)
		b.exec(t, `UPDATE steps SET blocked_at = now() - make_interval(hours => $2) WHERE customer_id = $1`, id, i)
	}
	var seen []string
	for cursor := ""; ; {
		page := b.call(t, "GET", "/v1/ops/attention?limit=2&cursor="+cursor, operatorKey, "")
		require.Equal(t, http.StatusOK, page.status, page.text)
		for _, item := range page.body["items"].([]any) {
			seen = append(seen, item.(map[string]any)["customer_id"].(string))
			require.Len(t, item.(map[string]any)["resolve"], 2)
		}
		next, more := page.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = next
	}
	require.Equal(t, []string{"u_4", "u_3", "u_2", "u_1", "u_0"}, seen)
	requireProblem(t, b.call(t, "GET", "/v1/ops/attention?cursor=nonsense", operatorKey, ""), 422, "query.cursor")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"since":"2026-01-01T00:00:00Z","kind":"step","id":"\u0000"}`))
	requireProblem(t, b.call(t, "GET", "/v1/ops/attention?cursor="+forged, operatorKey, ""), 422, "query.cursor")
	requireProblem(t, b.call(t, "GET", "/v1/ops/attention?limit=0", operatorKey, ""), 422, "query.limit")
}

func TestProvidersShowWhatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `UPDATE steps SET status = 'blocked', waits_for = 'provider', blocked_at = now();
		UPDATE provider_health SET state = 'down', last_error = 'stripe: transient: network' WHERE provider = 'stripe'`)
	r := b.call(t, "GET", "/v1/ops/providers", operatorKey, "")
	require.Equal(t, http.StatusOK, r.status)
	items := r.body["items"].([]any)
	require.Len(t, items, 2)
	require.Equal(t, "paypal", items[0].(map[string]any)["provider"])
	stripe := items[1].(map[string]any)
	require.Equal(t, "down", stripe["state"])
	require.InDelta(t, 1, stripe["waiting"], 0)
	require.NotEmpty(t, stripe["oldest_waiting"])
}

func TestReadinessDoesNotWaitForATemporalThatHangs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var bound time.Duration
	b.temporal.health = func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		bound = time.Until(deadline)
		<-ctx.Done()
		return ctx.Err()
	}
	r := b.call(t, "GET", "/readyz", "", "")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, map[string]any{"postgres": "ok", "temporal": "unreachable"}, r.body)
	require.Less(t, bound, time.Second, "the usual patience of a probe")
}

func TestReadinessNeedsPostgresAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.call(t, "GET", "/readyz", "", "")
	require.Equal(t, map[string]any{"postgres": "ok", "temporal": "unreachable"}, r.body)
	b.pool.Close()
	r = b.call(t, "GET", "/readyz", "", "")
	require.Equal(t, http.StatusServiceUnavailable, r.status)
}

func TestDescriptionIsUpToDate(t *testing.T) {
	t.Parallel()
	described, err := httpapi.Describe()
	require.NoError(t, err)
	committed, err := os.ReadFile("../../docs/openapi.json")
	require.NoError(t, err)
	require.Equal(t, string(committed), string(described), "run make generate")
}

func TestDocsPageShowsEveryCall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page := b.call(t, "GET", "/docs", "", "")
	for _, path := range []string{"/v1/customers", "/v1/customers/{id}/ensure-billing", "/v1/ops/attention", "/v1/ops/customers/{id}/steps/{step}/retry"} {
		require.Contains(t, page.text, path)
	}
	require.NotContains(t, page.text, "<script")
}
