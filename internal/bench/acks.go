package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/fleet"
)

// acks measures how fast webhooks are stored: signed Stripe events of 2 kB about 500 customers, each
// answered once it is on disk. No worker runs meanwhile, so that the reads that follow are not
// measured too.
func (r *run) acks(ctx context.Context) error {
	const customers, size, aimRate, aimP99 = 500, 2048, 10_000, 25 * time.Millisecond
	ids, err := r.subscribers(ctx, "acks", customers)
	if err != nil {
		return err
	}
	if err := r.fleet.StopWorkers(); err != nil {
		return err
	}
	raw, err := r.rawInserts(ctx, size)
	if err != nil {
		return err
	}
	r.add("single-row inserts a second into the same Postgres, one connection, 2 kB", true, "", "%.0f", raw)
	for _, c := range []struct{ concurrency, events int }{{1, 2_000}, {16, 40_000}, {64, 150_000}} {
		r.notef("%d webhooks, %d at a time …", c.events, c.concurrency)
		sent := sender{client: newWebhookClient(c.concurrency), url: r.fleet.URL() + "/webhooks/stripe", customers: ids, size: size}
		began := time.Now()
		took, err := sent.send(ctx, fmt.Sprintf("acks%d", c.concurrency), c.events, c.concurrency)
		if err != nil {
			return err
		}
		perSecond := float64(c.events) / time.Since(began).Seconds()
		met, aim := true, ""
		if c.concurrency == 64 {
			met, aim = perSecond >= aimRate && took.percentile(99) < aimP99, "10,000/s, p99 under 25 ms"
		}
		r.add(fmt.Sprintf("webhooks stored and answered a second at concurrency %d; p50, p99", c.concurrency), met, aim,
			"%.0f; %s, %s", perSecond, took.percentile(50), took.percentile(99))
	}
	if err := r.everythingStored(ctx); err != nil {
		return err
	}
	if err := r.fleet.StartWorker(ctx); err != nil {
		return err
	}
	return r.awaitSynced(ctx) // or what follows would be measured with these reads
}

// everythingStored holds what was answered against what is in Postgres.
func (r *run) everythingStored(ctx context.Context) error {
	var stored int
	if err := r.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM webhook_events WHERE event_id LIKE 'evt\_acks%'`).Scan(&stored); err != nil {
		return err
	}
	const sent = 2_000 + 40_000 + 150_000
	if stored != sent {
		return fmt.Errorf("bench: %d webhooks were answered, and %d are stored", sent, stored)
	}
	return nil
}

// rawInserts is how many rows a second one connection inserts, one transaction each, with a payload
// of that size: what this Postgres and this disk can do.
func (r *run) rawInserts(ctx context.Context, size int) (float64, error) {
	const rows = 2_000
	r.notef("%d single-row inserts …", rows)
	conn, err := r.fleet.Pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `CREATE TABLE bench_inserts (id bigint PRIMARY KEY, payload bytea NOT NULL)`); err != nil {
		return 0, err
	}
	payload := bytes.Repeat([]byte("x"), size)
	began := time.Now()
	for i := range rows {
		if _, err := conn.Exec(ctx, `INSERT INTO bench_inserts VALUES ($1, $2)`, i, payload); err != nil {
			return 0, err
		}
	}
	took := time.Since(began)
	_, err = conn.Exec(ctx, `DROP TABLE bench_inserts`, pgx.QueryExecModeSimpleProtocol)
	return rows / took.Seconds(), err
}

// sender sends signed Stripe events about customers.
type sender struct {
	client    *http.Client
	url       string
	customers []string // cus_…
	size      int      // of a body, in bytes
}

func newWebhookClient(concurrency int) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: concurrency}}
}

// send sends n events with ids of that prefix, so many at a time, and gives the time that each took
// to be answered with 200.
func (s sender) send(ctx context.Context, prefix string, n, concurrency int) (durations, error) {
	took := make(durations, n)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range concurrency {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				body := s.event(fmt.Sprintf("evt_%s_%d", prefix, i), s.customers[i%len(s.customers)])
				began := time.Now()
				if err := s.post(ctx, body); err != nil {
					return err
				}
				took[i] = time.Since(began)
			}
		})
	}
	return took, group.Wait()
}

// event is an event about a customer's subscription, filled up to the sender's size.
func (s sender) event(id, customerID string) []byte {
	event := map[string]any{
		"id": id, "object": "event", "type": "customer.subscription.updated", "api_version": "2023-10-16",
		"created": time.Now().Unix(), "livemode": false,
		"data": map[string]any{"object": map[string]any{
			"id": "sub_" + customerID, "object": "subscription", "customer": customerID, "metadata": map[string]string{"filling": ""},
		}},
	}
	body, err := json.Marshal(event)
	if err != nil {
		panic(err) // texts and numbers
	}
	const gap = `"filling":"`
	at := bytes.Index(body, []byte(gap)) + len(gap)
	filling := strings.Repeat("x", max(0, s.size-len(body)))
	return append(body[:at:at], append([]byte(filling), body[at:]...)...)
}

func (s sender) post(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Stripe-Signature", sign(body, time.Now()))
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("bench: a webhook was answered with %s: %s", response.Status, answer)
	}
	return err
}

func sign(body []byte, at time.Time) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(fleet.StripeWebhookSecret))
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
