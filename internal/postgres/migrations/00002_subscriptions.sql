-- +goose Up

INSERT INTO provider_health (provider) VALUES ('paypal');

-- What providers sent us: whom to look at, never what is true of them. A row is deleted, payload and
-- all, after the configured time, which is longer than providers send an event again.
CREATE TABLE webhook_events (
    provider    text NOT NULL,
    event_id    text NOT NULL,
    type        text NOT NULL,
    -- Stripe's connected account; empty for the platform's own events.
    account     text NOT NULL DEFAULT '',
    -- Whom it is about at the provider, cus_… or I-…; empty when it names nobody.
    subject     text NOT NULL DEFAULT '',
    -- The customer whose state was marked to be read again. No foreign key: customers are never
    -- deleted, and the check would lock a row for every event.
    customer_id text,
    -- sync: whom or what it is about is looked at. unknown: the subject is nobody's here. dismissed: it is, and a
    -- person said that it shall be. ignored: of no interest.
    effect      text NOT NULL CHECK (effect IN ('sync', 'unknown', 'ignored', 'dismissed')),
    payload     bytea NOT NULL,
    occurred_at timestamptz,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, event_id)
);

CREATE INDEX webhook_events_received ON webhook_events USING brin (received_at);
-- Subjects that are nobody's: adopted when they are bound, shown to people when they persist.
CREATE INDEX webhook_events_unknown ON webhook_events (provider, subject, received_at) WHERE effect IN ('unknown', 'dismissed');

-- How far a customer's state at a provider is known. Reads are numbered when they begin; one is stored
-- only if no other was stored since it began.
CREATE TABLE subscription_syncs (
    customer_id text NOT NULL REFERENCES customers (id),
    provider    text NOT NULL,
    -- Raised whenever somebody says that what is known may be old; a read covers the marks that were
    -- there when it began.
    marks       bigint NOT NULL DEFAULT 0,
    covered     bigint NOT NULL DEFAULT 0,
    -- Why the oldest uncovered mark was made, and when.
    cause       text NOT NULL DEFAULT '',
    marked_at   timestamptz,
    -- The number of the newest read that began, and of the newest that was stored.
    begun       bigint NOT NULL DEFAULT 0,
    stored      bigint NOT NULL DEFAULT 0,
    -- Marks since the newest read began. The first of them wakes somebody, the others ride along.
    fresh       bigint NOT NULL DEFAULT 0,
    -- When the newest stored read began: what is known is as old as this.
    synced_at   timestamptz,
    PRIMARY KEY (customer_id, provider),
    CHECK (covered <= marks),
    CHECK (stored <= begun)
);

CREATE INDEX subscription_syncs_dirty ON subscription_syncs (marked_at) WHERE marks > covered;

-- A subscription as the provider's newest read shows it.
CREATE TABLE subscriptions (
    provider             text NOT NULL,
    id                   text NOT NULL,
    customer_id          text NOT NULL REFERENCES customers (id),
    status               text NOT NULL CHECK (status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled')),
    -- The provider's own word for it.
    provider_status      text NOT NULL,
    -- Stripe's prices, or PayPal's plan.
    price_ids            text[] NOT NULL,
    created_at           timestamptz NOT NULL,
    current_period_start timestamptz,
    current_period_end   timestamptz,
    -- The end of what the last active read had paid for.
    paid_until           timestamptz,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    card_brand           text NOT NULL DEFAULT '',
    card_last4           text NOT NULL DEFAULT '',
    PRIMARY KEY (provider, id)
);

CREATE INDEX subscriptions_by_customer ON subscriptions (customer_id);

-- PayPal cannot list a customer's subscriptions: an app says which ids are its customer's. Anybody
-- may ask for any id; PayPal's custom_id, or an operator, decides whose it is.
CREATE TABLE paypal_bindings (
    subscription_id text NOT NULL CHECK (subscription_id ~ '^I-[A-Z0-9]+$'),
    customer_id     text NOT NULL REFERENCES customers (id),
    status          text NOT NULL DEFAULT 'asked' CHECK (status IN ('asked', 'bound', 'refused')),
    -- Why it was refused: a code.
    reason          text NOT NULL DEFAULT '',
    -- The key's name of the operator who bound it, whatever custom_id says.
    operator        text NOT NULL DEFAULT '',
    asked_at        timestamptz NOT NULL DEFAULT now(),
    decided_at      timestamptz,
    PRIMARY KEY (customer_id, subscription_id)
);

CREATE UNIQUE INDEX paypal_bindings_one_owner ON paypal_bindings (subscription_id) WHERE status = 'bound';

-- What the app was told last of a customer: the subscription that counts.
CREATE TABLE subscription_states (
    customer_id text PRIMARY KEY REFERENCES customers (id),
    state       jsonb NOT NULL,
    -- Live subscriptions at two providers at once, since when: for a person to sort out.
    doubled_at  timestamptz
);

CREATE INDEX subscription_states_doubled ON subscription_states (doubled_at) WHERE doubled_at IS NOT NULL;

-- What changed, in the order in which it was committed, without gaps: taking a number locks the
-- counter until the transaction ends, so no reader passes a number that is still to come.
CREATE TABLE change_counter (
    last bigint NOT NULL
);
INSERT INTO change_counter VALUES (0);

CREATE TABLE changes (
    seq         bigint PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    -- Such as subscription.changed or onboarding.changed.
    type        text NOT NULL,
    customer_id text NOT NULL,
    -- What the app is told: ids and states, no personal data.
    data        jsonb NOT NULL
);

CREATE INDEX changes_by_customer ON changes (customer_id, seq);

-- The onboarding status that the app was told last.
ALTER TABLE customers ADD COLUMN told_status text NOT NULL DEFAULT 'onboarding';

-- +goose Down
ALTER TABLE customers DROP COLUMN told_status;
DROP TABLE changes;
DROP TABLE change_counter;
DROP TABLE subscription_states;
DROP TABLE paypal_bindings;
DROP TABLE subscriptions;
DROP TABLE subscription_syncs;
DROP TABLE webhook_events;
DELETE FROM provider_health WHERE provider = 'paypal';
