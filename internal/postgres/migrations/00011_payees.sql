-- +goose Up

-- A customer who is paid. The e-mail addresses are personal data; they stay here.
CREATE TABLE payees (
    id                     text PRIMARY KEY REFERENCES customers (id),
    email                  text NOT NULL,
    country                text NOT NULL,
    currency               text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    rail                   text NOT NULL CHECK (rail IN ('stripe', 'paypal')),
    stripe_account_id      text UNIQUE,
    paypal_email           text,
    schedule               text NOT NULL CHECK (schedule IN ('daily', 'weekly', 'monthly', 'quarterly')),
    -- The payee's own threshold, in minor units; the platform's counts when it is higher.
    minimum                bigint CHECK (minimum > 0),
    -- The account's external account as it was seen last; a payout keeps the one that it was planned for.
    destination_id         text NOT NULL DEFAULT '',
    destination_changed_at timestamptz NOT NULL DEFAULT now(),
    instant_refused_until  timestamptz,
    -- Payouts in a row that the destination refused.
    rejections             integer NOT NULL DEFAULT 0 CHECK (rejections >= 0),
    -- SHA-256 of what the app said last: the same again changes nothing.
    content_hash           bytea NOT NULL,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    CHECK (rail <> 'paypal' OR paypal_email IS NOT NULL AND currency = 'usd')
);

-- Why a payee is not paid. Each source lifts its own pause and no other's.
CREATE TABLE payee_pauses (
    payee_id text NOT NULL REFERENCES payees (id),
    source   text NOT NULL CHECK (source IN ('payee', 'operator', 'provider', 'system')),
    -- A code, such as rejections.
    reason   text NOT NULL DEFAULT '',
    note     text NOT NULL DEFAULT '',
    -- The name of the key that asked for it; empty for our own pauses.
    actor    text NOT NULL DEFAULT '',
    since    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payee_id, source)
);

-- What a run had to say of a payee: a code, and what it means in this case, without personal data.
-- The same code again is the same note with a later last date.
CREATE TABLE payee_notes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payee_id   text NOT NULL REFERENCES payees (id),
    code       text NOT NULL,
    detail     text NOT NULL DEFAULT '',
    first_date date NOT NULL,
    last_date  date NOT NULL,
    times      integer NOT NULL DEFAULT 1,
    UNIQUE (payee_id, code),
    CHECK (first_date <= last_date)
);

-- A connected account as it was seen last. Activities write it, people and rules read it.
CREATE TABLE payee_accounts (
    stripe_account_id   text PRIMARY KEY,
    payee_id            text NOT NULL REFERENCES payees (id),
    country             text NOT NULL DEFAULT '',
    currency            text NOT NULL DEFAULT '',
    -- How Stripe itself pays the account out: ours must be manual.
    schedule_interval   text NOT NULL DEFAULT '',
    payouts_enabled     boolean NOT NULL,
    external_account_id text NOT NULL DEFAULT '',
    external_currency   text NOT NULL DEFAULT '',
    external_errored    boolean NOT NULL DEFAULT false,
    instant_offered     boolean NOT NULL DEFAULT false,
    -- The account owes Stripe money: a transfer would be swallowed.
    negative            boolean NOT NULL DEFAULT false,
    as_of               timestamptz NOT NULL
);

-- The refresher takes the oldest first.
CREATE INDEX payee_accounts_by_age ON payee_accounts (as_of);

-- What a payee earned, and what was taken back. Each is in the ledger under its source.
CREATE TABLE earnings (
    payee_id     text NOT NULL REFERENCES payees (id),
    id           text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('sale', 'refund', 'chargeback', 'adjustment')),
    -- Minor units; the kind gives the sign.
    amount       bigint NOT NULL CHECK (amount > 0),
    currency     text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    occurred_at  timestamptz NOT NULL,
    description  text NOT NULL DEFAULT '',
    -- SHA-256 of what the app said: the same again is a repeat, other content a conflict.
    content_hash bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payee_id, id)
);

-- The list is in the order of what happened, newest first.
CREATE INDEX earnings_by_time ON earnings (payee_id, occurred_at DESC, id DESC);

-- What operators put right by hand. Each is in the ledger under its source.
CREATE TABLE payee_corrections (
    payee_id text NOT NULL REFERENCES payees (id),
    -- The caller's own id: the same again is a repeat.
    id       text NOT NULL,
    kind     text NOT NULL CHECK (kind IN ('adjust', 'write_off')),
    -- Minor units; below zero takes from the payee.
    amount   bigint NOT NULL CHECK (amount <> 0),
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    dated    date NOT NULL,
    actor    text NOT NULL,
    note     text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payee_id, id)
);

-- +goose Down
DROP TABLE payee_corrections;
DROP TABLE earnings;
DROP TABLE payee_accounts;
DROP TABLE payee_notes;
DROP TABLE payee_pauses;
DROP TABLE payees;
