-- +goose Up

-- Items that PayPal has of our payouts beside those by which they were sent: of a batch that it has although
-- it was refused, or that a restored backup has forgotten. What was paid so is money that left twice.
CREATE TABLE paypal_other_items (
    item_id            text PRIMARY KEY,
    -- No reference: keeping an item does not wait for who holds the payout.
    payout_id          text NOT NULL,
    paypal_batch_id    text NOT NULL,
    amount             bigint NOT NULL,
    currency           text NOT NULL,
    transaction_status text NOT NULL,
    found_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX paypal_other_items_by_payout ON paypal_other_items (payout_id);

-- A batch that was not sent from here as it is, but found at PayPal.
ALTER TABLE paypal_batches ADD COLUMN taken_over boolean NOT NULL DEFAULT false;

-- +goose StatementBegin
-- A payout changes its batch only while PayPal is known to have nothing of it, and what its batch may
-- send, for the first time or again, goes nowhere else meanwhile: but to the batch that PayPal was found to have.
CREATE OR REPLACE FUNCTION payout_batch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND OLD.state = 'sending' AND (SELECT state FROM paypal_batches WHERE id = OLD.batch_id) = 'sending' THEN
        RAISE EXCEPTION 'payout %: its batch is being sent', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.batch_id IS DISTINCT FROM OLD.batch_id AND (OLD.state NOT IN ('planned', 'sending') OR OLD.provider_payout_id IS NOT NULL
        OR OLD.state = 'sending' AND NOT EXISTS (SELECT FROM paypal_batches WHERE id = NEW.batch_id AND split_from = OLD.batch_id)
            AND NOT (EXISTS (SELECT FROM paypal_batches WHERE id = NEW.batch_id AND taken_over AND state = 'open')
                AND EXISTS (SELECT FROM paypal_batches WHERE id = OLD.batch_id AND state IN ('open', 'split', 'ended') AND paypal_batch_id IS NULL)))
    THEN
        RAISE EXCEPTION 'payout %: its batch may have been sent', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose Down

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION payout_batch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
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

ALTER TABLE paypal_batches DROP COLUMN taken_over;
DROP TABLE paypal_other_items;
