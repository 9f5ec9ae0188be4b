-- +goose Up

-- A customer of the app. Personal data lives here and nowhere else.
CREATE TABLE customers (
    id                     text PRIMARY KEY,
    email                  text NOT NULL,
    name                   text NOT NULL DEFAULT '',
    country                text NOT NULL DEFAULT '',
    promo_code             text NOT NULL DEFAULT '',
    metadata               jsonb NOT NULL DEFAULT '{}',
    -- SHA-256 of what the app asked for at creation: the same again is a repeat, other content a conflict.
    content_hash           bytea NOT NULL,
    -- Set at creation when the app brings its own Stripe customer, else when one was made or adopted.
    stripe_customer_id     text UNIQUE,
    -- When the id was confirmed at Stripe. Until then nobody may be billed on it.
    stripe_bound_at        timestamptz,
    -- Raised by every change of e-mail or name; the provider has what stripe_profile_version says.
    profile_version        integer NOT NULL DEFAULT 1,
    stripe_profile_version integer NOT NULL DEFAULT 0,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now()
);

-- The sweep looks for accounts without a confirmed Stripe customer, oldest first.
CREATE INDEX customers_unbound ON customers (created_at, id) WHERE stripe_bound_at IS NULL;

-- A step of a workflow as people see it: where it stands, what went wrong, what it waits for.
CREATE TABLE steps (
    workflow_id     text NOT NULL,
    name            text NOT NULL,
    customer_id     text REFERENCES customers (id),
    -- The provider that the step calls.
    provider        text NOT NULL,
    status          text NOT NULL CHECK (status IN ('pending', 'retrying', 'blocked', 'done', 'skipped')),
    attempts        integer NOT NULL DEFAULT 0,
    -- The last failure: its class, and the text of provider.Failure (codes and ids, no personal data).
    error_class     text NOT NULL DEFAULT '',
    last_error      text NOT NULL DEFAULT '',
    -- Set while blocked: 'provider' is woken by the gate, 'person' by an operator alone.
    waits_for       text CHECK (waits_for IN ('provider', 'person')),
    blocked_at      timestamptz,
    woken_at        timestamptz,
    next_attempt_at timestamptz,
    planned_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workflow_id, name),
    CHECK ((status = 'blocked') = (waits_for IS NOT NULL)),
    CHECK ((status = 'blocked') = (blocked_at IS NOT NULL))
);

CREATE INDEX steps_by_customer ON steps (customer_id);
-- Everything that is not over, for the sweep and the metrics.
CREATE INDEX steps_open ON steps (provider, status, updated_at) WHERE status NOT IN ('done', 'skipped');
-- What the gate wakes and what a person has to look at, oldest first.
CREATE INDEX steps_blocked ON steps (waits_for, provider, blocked_at) WHERE status = 'blocked';

-- What to start or signal in Temporal, written in the transaction that made it necessary.
CREATE TABLE outbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Names the effect: the same key twice is one effect.
    key             text NOT NULL UNIQUE,
    message         jsonb NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz
);

CREATE INDEX outbox_due ON outbox (next_attempt_at, id) WHERE delivered_at IS NULL;
CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;

-- What the fleet knows of each provider. One row each, written by its gate alone.
CREATE TABLE provider_health (
    provider   text PRIMARY KEY,
    state      text NOT NULL DEFAULT 'up' CHECK (state IN ('up', 'degraded', 'down', 'misconfigured')),
    -- Raised by every change of state, so that each period of trouble is reported to the gate once.
    epoch      bigint NOT NULL DEFAULT 1,
    since      timestamptz NOT NULL DEFAULT now(),
    last_error text NOT NULL DEFAULT '',
    checked_at timestamptz
);

INSERT INTO provider_health (provider) VALUES ('stripe');

-- Every write to a provider: its idempotency key and exact parameters, stored before it is sent.
CREATE TABLE provider_requests (
    idempotency_key text PRIMARY KEY,
    provider        text NOT NULL,
    -- What is done, such as 'create_customer', and to which of our objects.
    operation       text NOT NULL,
    subject         text NOT NULL,
    -- Raised only when the epoch before it is known to have done nothing.
    epoch           integer NOT NULL,
    params          jsonb NOT NULL,
    first_sent_at   timestamptz,
    last_sent_at    timestamptz,
    -- Whether an answer was the replay of a stored one: the first execution is over.
    replayed        boolean NOT NULL DEFAULT false,
    outcome         text NOT NULL DEFAULT 'open' CHECK (outcome IN ('open', 'succeeded', 'rejected', 'absent')),
    object_id       text NOT NULL DEFAULT '',
    error           text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, operation, subject, epoch)
);

-- One request of an operation on a subject is open at a time.
CREATE UNIQUE INDEX provider_requests_open ON provider_requests (provider, operation, subject) WHERE outcome = 'open';

-- What operators did: who (the key's name), when, to what.
CREATE TABLE operator_actions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    note    text NOT NULL DEFAULT ''
);

-- +goose Down
DROP TABLE operator_actions;
DROP TABLE provider_requests;
DROP TABLE provider_health;
DROP TABLE outbox;
DROP TABLE steps;
DROP TABLE customers;
