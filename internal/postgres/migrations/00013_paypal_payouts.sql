-- +goose Up

-- Payouts by PayPal go there in batches. A batch is sent as its items stand here, until it is known what
-- came of it.
CREATE TABLE paypal_batches (
    id              text PRIMARY KEY CHECK (id ~ '^pb_[a-z0-9]{24}$'),
    run_date        date REFERENCES payout_runs (date),
    currency        text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    -- open: its members may still leave. sending: frozen, and perhaps sent. sent: PayPal has it. split:
    -- PayPal refused it, and its members are in other batches. ended: nothing of it is under way.
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'sending', 'sent', 'split', 'held', 'ended')),
    state_since     timestamptz NOT NULL DEFAULT now(),
    reason          text NOT NULL DEFAULT '',
    -- The payout_batch_id. One that PayPal denied is kept apart, so that another may follow.
    paypal_batch_id text UNIQUE,
    denied_ids      text[] NOT NULL DEFAULT '{}',
    -- What a webhook said that it is; nothing is believed of it before it was read.
    hinted_id       text,
    -- PayPal has told of something new since it was read last.
    heard           boolean NOT NULL DEFAULT false,
    -- Its items; while it is open, the members that it was formed of.
    size            integer NOT NULL CHECK (size >= 0),
    split_from      text REFERENCES paypal_batches (id),
    -- Since when PayPal's balance did not reach for it, until an item of it is accepted, and what it needs.
    unfunded_since  timestamptz,
    missing         bigint NOT NULL DEFAULT 0 CHECK (missing >= 0),
    sent_at         timestamptz,
    checked_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (paypal_batch_id IS NULL OR state IN ('sent', 'held', 'ended')),
    CHECK (state <> 'sent' OR paypal_batch_id IS NOT NULL)
);

-- What the sweep looks at, and what waits for a person.
CREATE INDEX paypal_batches_live ON paypal_batches (id) WHERE state IN ('open', 'sending', 'sent', 'held') OR heard;
CREATE INDEX paypal_batches_unfunded ON paypal_batches (unfunded_since) WHERE unfunded_since IS NOT NULL;

-- What a batch is made of, exactly as it is sent. The receivers are personal data; they stay here.
CREATE TABLE paypal_batch_items (
    batch_id           text NOT NULL REFERENCES paypal_batches (id),
    -- From zero, as PayPal counts when it refuses one.
    position           integer NOT NULL CHECK (position >= 0),
    payout_id          text NOT NULL REFERENCES payouts (id),
    receiver           text NOT NULL CHECK (receiver <> ''),
    amount             bigint NOT NULL CHECK (amount > 0),
    currency           text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    -- What PayPal says of it.
    item_id            text,
    transaction_id     text,
    transaction_status text NOT NULL DEFAULT '',
    error_code         text NOT NULL DEFAULT '',
    seen_at            timestamptz,
    -- A movement at PayPal has brought the money of a blocked one back; its status need not say so.
    funds_back         boolean NOT NULL DEFAULT false,
    PRIMARY KEY (batch_id, position),
    UNIQUE (batch_id, payout_id)
);
CREATE INDEX paypal_batch_items_by_payout ON paypal_batch_items (payout_id);

-- The batch that a payout is in now; there is never more than one.
ALTER TABLE payouts ADD COLUMN batch_id text REFERENCES paypal_batches (id);
CREATE INDEX payouts_by_batch ON payouts (batch_id) WHERE batch_id IS NOT NULL;
ALTER TABLE payouts
    ADD CONSTRAINT payouts_batch_of_paypal CHECK (batch_id IS NULL OR method = 'paypal' AND transfer_id IS NULL AND reversal_id IS NULL),
    ADD CONSTRAINT payouts_paypal_in_batch CHECK (method <> 'paypal' OR batch_id IS NOT NULL
        OR state NOT IN ('sending', 'in_transit', 'unclaimed', 'paid', 'returned')),
    ADD CONSTRAINT payouts_paypal_item CHECK (method <> 'paypal' OR provider_payout_id IS NOT NULL
        OR state NOT IN ('in_transit', 'unclaimed', 'paid', 'returned'));

-- Payouts in a row that the PayPal account refused; those that the bank or card did are counted apart.
ALTER TABLE payees ADD COLUMN paypal_rejections integer NOT NULL DEFAULT 0 CHECK (paypal_rejections >= 0);

-- When the provider was asked: what it says may be as of a moment before.
ALTER TABLE platform_funds ADD COLUMN read_at timestamptz;

-- +goose StatementBegin
CREATE FUNCTION paypal_batch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'open' THEN
            RAISE EXCEPTION 'batch %: begins as open', NEW.id USING ERRCODE = 'check_violation', CONSTRAINT = 'paypal_batch_edges';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.run_date, NEW.currency, NEW.split_from) IS DISTINCT FROM (OLD.id, OLD.run_date, OLD.currency, OLD.split_from)
        OR OLD.state <> 'open' AND NEW.size <> OLD.size
    THEN
        RAISE EXCEPTION 'batch %: what was formed is frozen', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.paypal_batch_id <> coalesce(NEW.paypal_batch_id, '') AND NOT
        (NEW.paypal_batch_id IS NULL AND OLD.state = 'sent' AND NEW.state = 'sending' AND OLD.paypal_batch_id = ANY (NEW.denied_ids))
    THEN
        RAISE EXCEPTION 'batch %: what is known at PayPal does not change', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    -- What is sent again must not have ended otherwise meanwhile.
    IF NEW.state = 'sending' AND EXISTS (SELECT FROM paypal_batch_items i JOIN payouts p ON p.id = i.payout_id
        WHERE i.batch_id = NEW.id AND (p.state <> 'sending' OR p.batch_id <> i.batch_id))
    THEN
        RAISE EXCEPTION 'batch %: a payout of it is not to be sent', NEW.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT NEW.state = ANY (CASE OLD.state
        WHEN 'open' THEN ARRAY['sending', 'ended']
        WHEN 'sending' THEN ARRAY['sent', 'split', 'held', 'ended']
        WHEN 'sent' THEN ARRAY['sending', 'held', 'ended']
        WHEN 'held' THEN ARRAY['sent', 'ended']
        ELSE ARRAY[]::text[]
    END) THEN
        RAISE EXCEPTION 'batch %: % does not become %', NEW.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'paypal_batch_edges';
    END IF;
    NEW.state_since := now();
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- What may have been sent never changes; only what PayPal says of it is added.
CREATE FUNCTION paypal_batch_item_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.batch_id, NEW.position, NEW.payout_id, NEW.receiver, NEW.amount, NEW.currency) IS DISTINCT FROM
            (OLD.batch_id, OLD.position, OLD.payout_id, OLD.receiver, OLD.amount, OLD.currency)
        THEN
            RAISE EXCEPTION 'batch %: its items are frozen', OLD.batch_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (SELECT state FROM paypal_batches WHERE id = NEW.batch_id) <> 'open' THEN
        RAISE EXCEPTION 'batch %: its items are frozen', NEW.batch_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- A payout changes its batch only while PayPal is known to have nothing of it, and what its batch may
-- send, for the first time or again, goes nowhere else meanwhile.
CREATE FUNCTION payout_batch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND OLD.state = 'sending' AND (SELECT state FROM paypal_batches WHERE id = OLD.batch_id) = 'sending' THEN
        RAISE EXCEPTION 'payout %: its batch is being sent', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.batch_id IS DISTINCT FROM OLD.batch_id AND (OLD.state NOT IN ('planned', 'sending') OR OLD.provider_payout_id IS NOT NULL
        OR OLD.state = 'sending' AND NOT EXISTS (SELECT FROM paypal_batches WHERE id = NEW.batch_id AND split_from = OLD.batch_id))
    THEN
        RAISE EXCEPTION 'payout %: its batch may have been sent', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER paypal_batches_guard BEFORE INSERT OR UPDATE ON paypal_batches FOR EACH ROW EXECUTE FUNCTION paypal_batch_guard();
CREATE TRIGGER paypal_batch_items_guard BEFORE INSERT OR UPDATE ON paypal_batch_items
    FOR EACH ROW EXECUTE FUNCTION paypal_batch_item_guard();
CREATE TRIGGER payouts_batch_guard BEFORE UPDATE OF batch_id, state ON payouts FOR EACH ROW
    WHEN (OLD.method = 'paypal') EXECUTE FUNCTION payout_batch_guard();
CREATE TRIGGER paypal_batches_kept BEFORE DELETE OR TRUNCATE ON paypal_batches
    FOR EACH STATEMENT EXECUTE FUNCTION payout_history_is_kept();
CREATE TRIGGER paypal_batch_items_kept BEFORE DELETE OR TRUNCATE ON paypal_batch_items
    FOR EACH STATEMENT EXECUTE FUNCTION payout_history_is_kept();

-- +goose Down
DROP TRIGGER payouts_batch_guard ON payouts;
DROP FUNCTION payout_batch_guard;
ALTER TABLE platform_funds DROP COLUMN read_at;
ALTER TABLE payees DROP COLUMN paypal_rejections;
ALTER TABLE payouts DROP COLUMN batch_id, DROP CONSTRAINT payouts_paypal_item;
DROP TABLE paypal_batch_items;
DROP TABLE paypal_batches;
DROP FUNCTION paypal_batch_item_guard;
DROP FUNCTION paypal_batch_guard;
