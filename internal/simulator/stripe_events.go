package simulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// stripeEventsKept is the least number of events that are kept once there were so many; Stripe keeps
// those of 30 days.
const stripeEventsKept = 25_000

// StripeEvent is an event as tests and the control endpoint see it, and as they make one.
type StripeEvent struct {
	ID      string    `json:"id,omitempty"`     // "evt_…"; one is made if it is empty
	Type    string    `json:"type"`             // any text
	Created time.Time `json:"created,omitzero"` // whole seconds; zero means now
	// Object is the object that the event tells of, as it was then.
	Object json.RawMessage `json:"object"`
	// PreviousAttributes are those that a change has replaced; empty when there are none.
	PreviousAttributes json.RawMessage `json:"previous_attributes,omitempty"`

	Livemode   bool   `json:"livemode,omitempty"`
	APIVersion string `json:"api_version,omitempty"` // empty means 2023-10-16
	Account    string `json:"account,omitempty"`     // the connected account that it is about; empty for our own
}

type stripeEvent struct {
	ID              string          `json:"id"`
	Object          string          `json:"object"`
	Account         string          `json:"account,omitempty"`
	APIVersion      string          `json:"api_version"`
	Created         int64           `json:"created"`
	Data            stripeEventData `json:"data"`
	Livemode        bool            `json:"livemode"`
	PendingWebhooks int             `json:"pending_webhooks"` // when the event occurred
	Request         stripeCause     `json:"request"`
	Type            string          `json:"type"`
}

// stripeEventData is rendered when the event occurs: later changes do not show in it.
type stripeEventData struct {
	Object             json.RawMessage `json:"object"`
	PreviousAttributes json.RawMessage `json:"previous_attributes,omitempty"`
}

// stripeCause is the request that led to an event; empty when none did.
type stripeCause struct {
	ID             nullable `json:"id"`
	IdempotencyKey nullable `json:"idempotency_key"`
}

func (e *stripeEvent) objectID() string { return e.ID }
func (e *stripeEvent) createdAt() int64 { return e.Created }

func (s *Stripe) serveEvents() {
	s.handle("GET /v1/events", s.listEvents)
	s.handle("GET /v1/events/{id}", s.retrieveEvent)
}

func (s *Stripe) listEvents(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(withListParams(map[string]paramKind{"type": aText, "types": aHash})); problem != nil {
		return nil, problem
	}
	if r.params.has("type") && r.params.has("types") {
		return nil, invalidRequest("parameters_exclusive", "types", "You may only specify one of these parameters: type, types.")
	}
	wanted := r.params.hash("types").values()
	if r.params.has("type") {
		wanted = []string{r.params.text("type")}
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		return s.events.page(query, "/v1/events", "event", func(e *stripeEvent) bool {
			return len(wanted) == 0 || slices.ContainsFunc(wanted, e.isOf)
		})
	}, nil
}

// isOf compares with a type, or with a group of them such as "customer.*".
func (e *stripeEvent) isOf(wanted string) bool {
	group, isGroup := strings.CutSuffix(wanted, "*")
	return e.Type == wanted || isGroup && strings.HasPrefix(e.Type, group)
}

func (s *Stripe) retrieveEvent(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		e, ok := s.events.get(r.id)
		if !ok {
			return nil, missing("event", r.id)
		}
		return e, nil
	}, nil
}

// EmitEvent makes an event that no change led to: of an unknown type, about an object that is not
// as it should be, of another mode, version or account. The events of real changes come by
// themselves. It returns what was made, and fails without a type or with an object that is no JSON.
func (s *Stripe) EmitEvent(event StripeEvent) (StripeEvent, error) {
	switch {
	case event.Type == "":
		return StripeEvent{}, errors.New("simulator: emit a Stripe event: type is empty")
	case !json.Valid(event.Object):
		return StripeEvent{}, fmt.Errorf("simulator: emit Stripe event %s: object is not JSON", event.Type)
	case event.PreviousAttributes != nil && !json.Valid(event.PreviousAttributes):
		return StripeEvent{}, fmt.Errorf("simulator: emit Stripe event %s: previous_attributes is not JSON", event.Type)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.newEvent(event.Type, stripeEventData{Object: event.Object, PreviousAttributes: event.PreviousAttributes})
	e.ID = cmp.Or(event.ID, e.ID)
	e.APIVersion = cmp.Or(event.APIVersion, e.APIVersion)
	e.Livemode, e.Account = event.Livemode, event.Account
	if !event.Created.IsZero() {
		e.Created = event.Created.Unix()
	}
	s.publish(e)
	return e.snapshot(), nil
}

// Events returns what has occurred, oldest first: at least the newest 25,000.
func (s *Stripe) Events() []StripeEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]StripeEvent, 0, len(s.events.oldestFirst))
	for _, e := range s.events.oldestFirst {
		out = append(out, e.snapshot())
	}
	return out
}

func (e *stripeEvent) snapshot() StripeEvent {
	return StripeEvent{
		ID: e.ID, Type: e.Type, Created: time.Unix(e.Created, 0).UTC(), Object: e.Data.Object,
		PreviousAttributes: e.Data.PreviousAttributes, Livemode: e.Livemode, APIVersion: e.APIVersion, Account: e.Account,
	}
}

func (s *Stripe) newEvent(eventType string, data stripeEventData) *stripeEvent {
	return &stripeEvent{
		ID: newID("evt_"), Object: "event", APIVersion: stripeVersion, Created: unixNow(), Data: data, Type: eventType,
	}
}

// publish keeps the event and has it delivered.
func (s *Stripe) publish(e *stripeEvent) {
	if s.webhooks.Target() != "" {
		e.PendingWebhooks = 1
	}
	s.events.add(e)
	s.events.keepNewest(stripeEventsKept)
	if e.PendingWebhooks == 0 {
		return
	}
	sign := s.signWebhook
	if e.Account != "" {
		sign = s.signConnectWebhook
	}
	s.webhooks.emit(webhookEvent{id: e.ID, eventType: e.Type, body: rendered(e), sign: sign})
}

// rendered is the JSON of an object of ours as it is now.
func rendered(object any) []byte {
	body, err := json.Marshal(object)
	if err != nil {
		panic(err) // structs of texts, numbers and valid JSON
	}
	return body
}
