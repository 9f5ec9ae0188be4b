-- +goose Up

-- Up to which date a payee's cycles were run; none: nothing before the payee came counts.
ALTER TABLE payees ADD COLUMN last_cycle date;

-- The payouts of one business date. One run per date, whoever starts it.
CREATE TABLE payout_runs (
    date        date PRIMARY KEY,
    -- ended: every payout is handed to its own workflow.
    state       text NOT NULL DEFAULT 'computing' CHECK (state IN ('computing', 'awaiting_approval', 'paying', 'paused', 'ended')),
    -- The state that a paused run goes on in.
    resumes_to  text CHECK (resumes_to IN ('computing', 'awaiting_approval', 'paying', 'ended')),
    -- Who or what began it, such as schedule or the name of a key.
    cause       text NOT NULL,
    actor       text NOT NULL DEFAULT '',
    approved_by text NOT NULL DEFAULT '',
    note        text NOT NULL DEFAULT '',
    -- The payee whom the run looked at last; it looks at them in the order of their ids.
    cursor      text NOT NULL DEFAULT '',
    looked      integer NOT NULL DEFAULT 0,
    -- When it had looked at everybody: from then on it claims, in the order of its candidates.
    looked_at   timestamptz,
    started_at  timestamptz NOT NULL DEFAULT now(),
    computed_at timestamptz,
    ended_at    timestamptz,
    CHECK ((state = 'paused') = (resumes_to IS NOT NULL)),
    CHECK ((coalesce(resumes_to, state) = 'computing') = (computed_at IS NULL)),
    CHECK ((coalesce(resumes_to, state) = 'ended') = (ended_at IS NOT NULL))
);

-- Whom a run is going to pay, by due date: when the platform's funds are short, in this order.
CREATE TABLE payout_candidates (
    run_date date NOT NULL REFERENCES payout_runs (date),
    due_date date NOT NULL,
    payee_id text NOT NULL REFERENCES payees (id),
    PRIMARY KEY (run_date, due_date, payee_id)
);

-- What the platform has at a provider, and what of it is claimed since or not known to be sent.
CREATE TABLE platform_funds (
    rail      text NOT NULL CHECK (rail IN ('stripe', 'paypal')),
    currency  text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    available bigint NOT NULL,
    claimed   bigint NOT NULL DEFAULT 0 CHECK (claimed >= 0),
    as_of     timestamptz NOT NULL,
    PRIMARY KEY (rail, currency)
);

-- What a run could not pay for want of funds. Once there is a row nobody further down is paid.
CREATE TABLE payout_shortfalls (
    run_date date NOT NULL REFERENCES payout_runs (date),
    rail     text NOT NULL,
    currency text NOT NULL,
    missing  bigint NOT NULL CHECK (missing > 0),
    payouts  integer NOT NULL CHECK (payouts > 0),
    PRIMARY KEY (run_date, rail, currency)
);

-- A payee's own request for an instant payout: the same id again is a repeat.
CREATE TABLE payout_requests (
    payee_id     text NOT NULL REFERENCES payees (id),
    id           text NOT NULL,
    currency     text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    -- Everything that is available when the amount was left out.
    amount       bigint CHECK (amount > 0),
    quoted_net   bigint NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payee_id, id)
);

-- Money on its way to a payee. What is sent is what stands here.
CREATE TABLE payouts (
    id                 text PRIMARY KEY CHECK (id ~ '^po_[a-z0-9]{24}$'),
    payee_id           text NOT NULL REFERENCES payees (id),
    kind               text NOT NULL CHECK (kind IN ('scheduled', 'manual', 'retry')),
    run_date           date REFERENCES payout_runs (date),
    manual_id          text,
    retry_of           text UNIQUE REFERENCES payouts (id),
    part               integer NOT NULL DEFAULT 1 CHECK (part >= 1),
    attempt            integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    method             text NOT NULL CHECK (method IN ('stripe_standard', 'stripe_instant', 'paypal')),
    currency           text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    gross              bigint NOT NULL,
    fee                bigint NOT NULL CHECK (fee >= 0),
    net                bigint NOT NULL CHECK (net > 0),
    -- It covers what was earned up to this date.
    period_end         date NOT NULL,
    -- The date of the cycle that it pays, which is earlier than the run's when that one was missed.
    due_date           date NOT NULL,
    state              text NOT NULL DEFAULT 'planned' CHECK (state IN
        ('planned', 'sending', 'in_transit', 'unclaimed', 'held', 'paid', 'failed', 'canceled', 'returned')),
    state_since        timestamptz NOT NULL DEFAULT now(),
    -- Why it came to this state and who brought it there: the trigger copies them to the transition.
    reason             text NOT NULL DEFAULT '',
    actor              text NOT NULL DEFAULT '',
    transitions        integer NOT NULL DEFAULT 0,
    stripe_account_id  text,
    destination_id     text NOT NULL DEFAULT '',
    transfer_id        text UNIQUE,
    provider_payout_id text UNIQUE,
    reversal_id        text UNIQUE,
    arrival_date       date,
    -- The ending that waits for the money to be back, with what the provider said.
    ending             text CHECK (ending IN ('failed', 'canceled', 'returned')),
    failure_class      text NOT NULL DEFAULT '',
    failure_code       text NOT NULL DEFAULT '',
    failure_message    text NOT NULL DEFAULT '',
    -- Raised when what was sent has come back, so that the ledger can have it sent again.
    epoch              integer NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    -- When money was first known to have left the platform.
    moved_at           timestamptz,
    checked_at         timestamptz,
    -- When it was handed to its workflow.
    handed_at          timestamptz,
    -- Whether the payee's next payout waits for this one.
    blocks             boolean NOT NULL DEFAULT true,
    released           boolean NOT NULL DEFAULT false,
    created_at         timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (payee_id, manual_id) REFERENCES payout_requests (payee_id, id),
    UNIQUE (run_date, payee_id, currency, part, attempt),
    UNIQUE (payee_id, manual_id, part),
    CHECK (gross = fee + net),
    CHECK ((kind = 'scheduled') = (run_date IS NOT NULL AND retry_of IS NULL)),
    CHECK ((kind = 'manual') = (manual_id IS NOT NULL)),
    CHECK ((kind = 'retry') = (retry_of IS NOT NULL)),
    CHECK (kind <> 'manual' OR run_date IS NULL),
    CHECK (method = 'paypal' OR stripe_account_id IS NOT NULL AND destination_id <> ''),
    CHECK (state <> 'planned' OR transfer_id IS NULL AND provider_payout_id IS NULL),
    CHECK (method = 'paypal' OR state NOT IN ('in_transit', 'unclaimed', 'paid', 'returned')
        OR transfer_id IS NOT NULL AND provider_payout_id IS NOT NULL),
    -- The money is the payee's again exactly when the payout ended without being paid, and no such
    -- ending is ever left.
    CHECK (released = (state IN ('failed', 'canceled', 'returned')))
);

-- A payee has one payout of a currency and part under way.
CREATE UNIQUE INDEX payouts_blocking ON payouts (payee_id, currency, part)
    WHERE blocks AND state IN ('planned', 'sending', 'in_transit', 'unclaimed', 'held');
CREATE INDEX payouts_by_payee ON payouts (payee_id, created_at DESC, id DESC);
CREATE INDEX payouts_to_hand_over ON payouts (run_date, id) WHERE handed_at IS NULL;
-- What the sweep looks at.
CREATE INDEX payouts_open ON payouts (state, state_since) WHERE state IN ('planned', 'sending', 'in_transit', 'unclaimed', 'held');
CREATE INDEX payouts_paid ON payouts (state_since) WHERE state = 'paid';

CREATE TABLE payout_transitions (
    payout_id  text NOT NULL REFERENCES payouts (id),
    seq        integer NOT NULL,
    -- Empty when it was made.
    from_state text NOT NULL DEFAULT '',
    to_state   text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    actor      text NOT NULL DEFAULT '',
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (payout_id, seq)
);

-- +goose StatementBegin
CREATE FUNCTION payout_edge(from_state text, to_state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT to_state = ANY (CASE from_state
        WHEN '' THEN ARRAY['planned']
        WHEN 'planned' THEN ARRAY['sending', 'canceled']
        WHEN 'sending' THEN ARRAY['in_transit', 'paid', 'unclaimed', 'failed', 'canceled', 'held']
        WHEN 'in_transit' THEN ARRAY['paid', 'unclaimed', 'failed', 'canceled', 'returned', 'held']
        WHEN 'unclaimed' THEN ARRAY['paid', 'returned', 'canceled', 'failed']
        WHEN 'held' THEN ARRAY['in_transit', 'paid', 'unclaimed', 'failed', 'canceled', 'returned']
        WHEN 'paid' THEN ARRAY['returned', 'held']
        ELSE ARRAY[]::text[]
    END)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION payout_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before text := '';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := OLD.state;
        IF (NEW.id, NEW.payee_id, NEW.kind, NEW.run_date, NEW.manual_id, NEW.retry_of, NEW.part, NEW.attempt, NEW.method,
                NEW.currency, NEW.gross, NEW.fee, NEW.net, NEW.period_end, NEW.due_date, NEW.stripe_account_id, NEW.destination_id)
            IS DISTINCT FROM
            (OLD.id, OLD.payee_id, OLD.kind, OLD.run_date, OLD.manual_id, OLD.retry_of, OLD.part, OLD.attempt, OLD.method,
                OLD.currency, OLD.gross, OLD.fee, OLD.net, OLD.period_end, OLD.due_date, OLD.stripe_account_id, OLD.destination_id)
        THEN
            RAISE EXCEPTION 'payout %: what was planned is frozen', OLD.id USING ERRCODE = 'restrict_violation';
        END IF;
        IF OLD.transfer_id <> coalesce(NEW.transfer_id, '') OR OLD.provider_payout_id <> coalesce(NEW.provider_payout_id, '')
            OR OLD.reversal_id <> coalesce(NEW.reversal_id, '')
        THEN
            RAISE EXCEPTION 'payout %: what is known at the provider does not change', OLD.id USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.state = OLD.state THEN
            RETURN NEW;
        END IF;
    END IF;
    IF NOT payout_edge(before, NEW.state) THEN
        RAISE EXCEPTION 'payout %: % does not become %', NEW.id, before, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_edges';
    END IF;
    NEW.transitions := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE OLD.transitions + 1 END;
    NEW.state_since := now();
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION payout_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO payout_transitions (payout_id, seq, to_state, reason, actor)
        VALUES (NEW.id, NEW.transitions, NEW.state, NEW.reason, NEW.actor);
    ELSIF NEW.state <> OLD.state THEN
        INSERT INTO payout_transitions (payout_id, seq, from_state, to_state, reason, actor)
        VALUES (NEW.id, NEW.transitions, OLD.state, NEW.state, NEW.reason, NEW.actor);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION payout_history_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is kept for ever: it is not for %', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER payouts_guard BEFORE INSERT OR UPDATE ON payouts FOR EACH ROW EXECUTE FUNCTION payout_guard();
CREATE TRIGGER payouts_transition AFTER INSERT OR UPDATE OF state ON payouts FOR EACH ROW EXECUTE FUNCTION payout_transition();
CREATE TRIGGER payouts_kept BEFORE DELETE OR TRUNCATE ON payouts FOR EACH STATEMENT EXECUTE FUNCTION payout_history_is_kept();
CREATE TRIGGER payout_transitions_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_transitions
    FOR EACH STATEMENT EXECUTE FUNCTION payout_history_is_kept();

-- The kill switch: while it is off nothing new is sent.
CREATE TABLE payout_switch (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    enabled boolean NOT NULL DEFAULT true,
    reason  text NOT NULL DEFAULT '',
    actor   text NOT NULL DEFAULT '',
    at      timestamptz NOT NULL DEFAULT now()
);
INSERT INTO payout_switch DEFAULT VALUES;

-- +goose Down
DROP TABLE payout_switch;
DROP TABLE payout_transitions;
DROP TABLE payouts;
DROP FUNCTION payout_history_is_kept;
DROP FUNCTION payout_transition;
DROP FUNCTION payout_guard;
DROP FUNCTION payout_edge;
DROP TABLE payout_requests;
DROP TABLE payout_shortfalls;
DROP TABLE platform_funds;
DROP TABLE payout_candidates;
DROP TABLE payout_runs;
ALTER TABLE payees DROP COLUMN last_cycle;
